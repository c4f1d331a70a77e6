# Progress, log, failures, stamps and lookups shared by the parts of script/setup. Sourced, never
# run; ROOT, DEV, LOG and VERBOSE are the caller's.

say() { printf '%s\n' "$*"; printf '%s\n' "$*" >>"$LOG"; }

warn() { say "warning: $*"; }

# fail WHAT CAUSE NEXT: the one line a failure ends in.
fail() {
  printf 'setup failed: %s; likely cause: %s; next: %s (log: %s)\n' "$1" "$2" "$3" "${LOG#"$ROOT"/}" >&2
  exit 1
}

# run COMMAND…: the command's output goes to the log, and to the terminal with --verbose.
run() {
  printf '+ %s\n' "$*" >>"$LOG"
  if [ "$VERBOSE" = 1 ]; then
    "$@" 2>&1 | tee -a "$LOG"
    return "${PIPESTATUS[0]}"
  fi
  "$@" >>"$LOG" 2>&1
}

# retry TIMES COMMAND…: again after 1, 2, 3… seconds until it succeeds.
retry() {
  local times=$1 attempt
  shift
  for ((attempt = 1; ; attempt++)); do
    run "$@" && return 0
    [ "$attempt" -lt "$times" ] || return 1
    sleep "$attempt"
  done
}

# stage NAME COMMAND…: one line when it is done, with the seconds it took.
stage() {
  local name=$1 began=$SECONDS
  shift
  "$@"
  say "$(printf '%-10s %s (%ds)' "$name" "$RESULT" $((SECONDS - began)))"
}

# checksum FILE…: one number for the names and contents of the files that exist.
checksum() {
  local file
  for file in "$@"; do
    if [ -f "$file" ]; then printf '%s ' "${file#"$ROOT"/}" && cksum <"$file"; fi
  done | cksum
}

is_stamped() { [ -f "$DEV/stamps/$1" ] && [ "$(cat "$DEV/stamps/$1")" = "$2" ]; }

stamp() { mkdir -p "$DEV/stamps" && printf '%s\n' "$2" >"$DEV/stamps/$1"; }

# host_command NAME: the host's own program of that name, even when .dev/env has been sourced.
host_command() {
  (PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -vF "$DEV/" | paste -sd: -) && command -v "$1")
}

# bounded SECONDS COMMAND…: given up after that time, where the host can do that.
bounded() {
  if command -v timeout >/dev/null; then timeout "$@"; else shift && "$@"; fi
}
