# Chooses where Ruby, the gems and Redis come from, and writes the shims. Sourced by script/setup.

readonly NEEDED='exit(RUBY_VERSION >= "3.3") && %w[sidekiq async async/service async/container].each { |name| require name }'

# write_shim NAME BODY: the executable .dev/bin/NAME, replaced in one step.
write_shim() {
  printf '#!/bin/sh\n# Written by script/setup.\n%s\n' "$2" >"$DEV/bin/$1.new"
  chmod +x "$DEV/bin/$1.new"
  mv "$DEV/bin/$1.new" "$DEV/bin/$1"
}

# bundle_install RUBY: the gems of sidecar/gems.rb in .dev/bundle, if Bundler's registry answers.
bundle_install() {
  local bundle gem
  [ -n "$1" ] && [ -f "$ROOT/sidecar/gems.rb" ] || return 1
  bundle=$(host_command bundle) && gem=$(host_command gem) || return 1
  run "$1" -e 'exit(RUBY_VERSION >= "3.3")' || return 1
  # Bundler tries an unreachable registry for minutes; this asks it one thing first.
  run bounded 20 "$gem" specification --remote sidekiq version || return 1
  BUNDLE_GEMFILE="$ROOT/sidecar/gems.rb" BUNDLE_PATH="$DEV/bundle" BUNDLE_APP_CONFIG="$DEV/bundle" \
    BUNDLE_RETRY=3 run bounded 600 "$bundle" install
}

# choose_ruby: makes .dev/bin/ruby from the first source that works; RESULT tells which and why.
choose_ruby() {
  local wanted=${GOKIQ_RUBY_SOURCE:-any} ruby
  ruby=$(host_command ruby) || ruby=
  if [ "$wanted" = any ] || [ "$wanted" = host ]; then
    if [ -n "$ruby" ] && run "$ruby" -e "$NEEDED"; then
      write_shim ruby "exec '$ruby' \"\$@\""
      RESULT="the host's $ruby: it is new enough and has the gems"
      return
    fi
  fi
  if [ "$wanted" = any ] || [ "$wanted" = bundle ]; then
    if bundle_install "$ruby"; then
      write_shim ruby "export BUNDLE_GEMFILE='$ROOT/sidecar/gems.rb' BUNDLE_PATH='$DEV/bundle' BUNDLE_APP_CONFIG='$DEV/bundle'
exec '$ruby' -rbundler/setup \"\$@\""
      RESULT="the host's $ruby with gems from sidecar/gems.rb in .dev/bundle: Bundler reached its registry"
      return
    fi
  fi
  [ "$wanted" = any ] || [ "$wanted" = debian ] || fail "GOKIQ_RUBY_SOURCE=$wanted" \
    "this host's Ruby does not serve it" "unset it, or see the log"
  unpack_debian "$RUBY_PACKAGES $REDIS_PACKAGES" "$OPTIONAL_PACKAGES"
  debian_ruby_shim ruby "$DEV/debian/root"
  RESULT="Debian packages in .dev/debian: no Ruby >= 3.3 with the gems here, and Bundler installed none"
}

# check_ruby: the shim must run what the sidecar needs.
check_ruby() {
  run "$DEV/bin/ruby" -e "$NEEDED" || fail "Ruby does not start or lacks a gem" \
    "an incompatible host or a half-made folder" "remove .dev and run script/setup again"
  RESULT+="; $("$DEV/bin/ruby" -e 'require "sidekiq"; print "Ruby #{RUBY_VERSION}, Sidekiq #{Sidekiq::VERSION}"')"
}

make_ruby() {
  choose_ruby
  check_ruby
}

# make_redis: the host's Redis when it is 6 or newer (CLIENT TRACKING), else the folder's.
make_redis() {
  local server cli name
  if server=$(host_command redis-server) && cli=$(host_command redis-cli) &&
    "$server" --version | grep -Eq 'v=([6-9]|[1-9][0-9])\.'; then
    write_shim redis-server "exec '$server' \"\$@\""
    write_shim redis-cli "exec '$cli' \"\$@\""
    RESULT="the host's $server"
  else
    [ -e "$DEV/debian/root/usr/bin/redis-server" ] || unpack_debian "$REDIS_PACKAGES" ""
    for name in redis-server redis-cli; do debian_shim $name "$DEV/debian/root"; done
    RESULT="from .dev/debian"
  fi
  # A sentinel is a server with that option; a package of its own has only another name for it.
  write_shim redis-sentinel "exec '$DEV/bin/redis-server' \"\$@\" --sentinel"
  RESULT+=": $("$DEV/bin/redis-server" --version | sed -E 's/.*v=([0-9.]+).*/Redis \1/')"
}

# make_sidekiq7: only the version matrix of the tests needs it, so its failing is a warning.
make_sidekiq7() {
  local version
  if [ -d "$DEV/debian/root/usr/lib/ruby" ] && unpack_sidekiq7; then
    debian_ruby_shim ruby-sidekiq7 "$DEV/sidekiq-7.3/root"
    version=$("$DEV/bin/ruby-sidekiq7" -e 'require "sidekiq"; print Sidekiq::VERSION' 2>>"$LOG") || version=
  fi
  case ${version:-} in
    7.*) RESULT="Sidekiq $version for the version matrix, .dev/bin/ruby-sidekiq7" ;;
    *)
      rm -rf "$DEV/bin/ruby-sidekiq7" "$DEV/sidekiq-7.3"
      RESULT="warning: no Sidekiq 7.3; the version matrix runs without it (needs .dev/debian and Debian $OLD_SUITE)"
      ;;
  esac
}
