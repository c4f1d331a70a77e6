# Compiles the extensions another way, in a copy of the package and of its unit tests, so that those
# of the checkout stay as they are. Sourced, in the checkout's folder.

# build_copy FOLDER FLAG…: makes the copy; gcc takes these flags and links tests/fuzz/coverage.c in
# where they ask for coverage.
build_copy() {
  local folder=$1 name include suffix coverage=() pids=() pid
  shift
  rm -rf "$folder"
  mkdir -p "$folder/tests" "$folder/build"
  cp -r gokiq "$folder"
  rm -f "$folder"/gokiq/*.so
  cp -r pyproject.toml devtools bench examples sidecar "$folder"
  cp -r tests/unit tests/vectors tests/fuzz "$folder/tests"
  include=$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')
  suffix=$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  if [[ "$*" = *-fsanitize-coverage* ]]; then
    coverage=("$folder/build/coverage.o")
    gcc -fPIC -O2 -c tests/fuzz/coverage.c -o "${coverage[0]}"
  fi
  for name in _core _payload; do
    cython -3 --module-name "gokiq.$name" -o "$folder/build/$name.c" "gokiq/$name.pyx"
    gcc -shared -fPIC -g "$@" -I "$include" -o "$folder/gokiq/$name$suffix" "$folder/build/$name.c" "${coverage[@]}" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}
