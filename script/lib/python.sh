# The virtual environment with the package installed for editing and its extensions compiled in
# place. Sourced by script/setup.

VENV=$DEV/venv

find_python() {
  local name path
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    path=$(host_command "$name") || continue
    "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && printf '%s' "$path" && return
  done
  return 1
}

pip() {
  run "$VENV/bin/python" -m pip --disable-pip-version-check --retries 5 --timeout 30 "$@"
}

make_venv() {
  local python
  python=$(find_python) || fail "no Python >= 3.11" "it is not on PATH" "install it, or set PYTHON=/path/to/python"
  rm -rf "$VENV"
  run "$python" -m venv "$VENV" || fail "making .dev/venv" \
    "the system's Python comes without venv" "install its python3-venv package, or set PYTHON to another"
  RESULT="$("$VENV/bin/python" --version) in .dev/venv"
}

# install_package: dependencies and the editable package; compiles the extensions as it goes.
install_package() {
  pip install --editable '.[dev,uvloop]' || fail "installing gokiq and its dependencies" \
    "$(install_cause)" "script/setup --verbose"
  RESULT="$("$VENV/bin/python" -m pip list --disable-pip-version-check 2>/dev/null | tail -n +3 | wc -l) packages, extensions compiled"
}

install_cause() {
  if grep -Eq 'Python\.h|command .*(cc|gcc|clang).* failed|No such file.*(cc|gcc)' "$LOG"; then
    printf 'no C compiler or no Python headers'
  elif grep -Eq 'Error compiling Cython file' "$LOG"; then
    printf 'a .pyx file does not compile'
  else
    printf 'the package index is not reached'
  fi
}

compile() {
  run env PATH="$VENV/bin:$PATH" "$VENV/bin/python" setup.py build_ext --inplace --force ||
    fail "compiling the extensions" "$(install_cause)" "script/setup --verbose"
  RESULT="extensions compiled"
}

# is_compiled: every .pyx has its extension, whatever the stamps say.
is_compiled() {
  local source
  for source in gokiq/*.pyx; do
    [ -e "$source" ] || continue
    compgen -G "${source%.pyx}.*.so" >/dev/null || return 1
  done
}
