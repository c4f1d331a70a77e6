# valgrind with callgrind, to count instructions: the host's own, else the package of the host's
# Debian, unpacked into a folder and run from there. Sourced by script/setup.

# counts COMMAND…: whether it is a valgrind whose callgrind runs a program.
counts() {
  run bounded 60 "$@" --tool=callgrind --callgrind-out-file=/dev/null /bin/true
}

# unpack_valgrind SUITE: fills .dev/valgrind. Of what the package depends on the host has the C
# library; its symbols are for other tools than callgrind.
unpack_valgrind() {
  local dir=$DEV/valgrind.new
  rm -rf "$dir"
  apt_state "$dir/apt" "$1" || return 1
  (cd "$dir/apt/archives" && retry 3 apt "$dir/apt" download valgrind) || return 1
  run unpack "$dir/root" "$dir"/apt/archives/*.deb || return 1
  rm -rf "$dir/apt"
  replace "$DEV/valgrind"
}

# valgrind_shim ROOT: .dev/bin/valgrind, which is told where its tools are.
valgrind_shim() {
  local root=$1
  write_shim valgrind "export VALGRIND_LIB='$root/usr/libexec/valgrind'
exec '$root/usr/bin/valgrind.bin' \"\$@\""
}

# make_valgrind: a warning when there is none; what needs it then says so.
make_valgrind() {
  local valgrind suite
  suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-}") || suite=
  if valgrind=$(host_command valgrind) && counts "$valgrind"; then
    write_shim valgrind "exec '$valgrind' \"\$@\""
    RESULT="the host's $valgrind"
  elif [ -n "$suite" ] && unpack_valgrind "$suite" && valgrind_shim "$DEV/valgrind/root" && counts "$DEV/bin/valgrind"; then
    RESULT="of Debian $suite in .dev/valgrind, $(du -sm "$DEV/valgrind" | cut -f1) MB"
  else
    rm -f "$DEV/bin/valgrind"
    RESULT="warning: none on this host, and none from Debian's archive; install valgrind (or see the log)"
  fi
}
