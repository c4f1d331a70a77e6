"""The no-op and the sleeping job in other job systems, when script/peers has installed them."""
