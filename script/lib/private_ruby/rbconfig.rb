# frozen_string_literal: true

# First on the load path of the private Ruby: the real rbconfig, with the shim as the interpreter,
# so that a program that starts `RbConfig.ruby` (or `Gem.ruby`) comes back through the shim.

require ENV.fetch("GOKIQ_RBCONFIG")

RbConfig::CONFIG["bindir"] = File.dirname(ENV.fetch("GOKIQ_RUBY_SHIM"))
RbConfig::CONFIG["ruby_install_name"] = File.basename(ENV.fetch("GOKIQ_RUBY_SHIM"))
RbConfig::CONFIG["RUBY_INSTALL_NAME"] = RbConfig::CONFIG["ruby_install_name"]
