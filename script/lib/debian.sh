# Debian packages unpacked into a private folder and run through their own loader: nothing is
# installed, no root is needed and the host stays as it is. Sourced by script/setup.

# Testing has the first Ruby stack with Sidekiq 8 and async-service; trixie has Sidekiq 7.3.
readonly SUITE=forky OLD_SUITE=trixie
readonly RUBY_PACKAGES="ruby ruby-sidekiq ruby-async-service ruby-async-container ca-certificates"
readonly OPTIONAL_PACKAGES="ruby-rails ruby-sqlite3 ruby-async-http ruby-protocol-rack puma
  ruby-rackup ruby-minitest ruby-sentry-sidekiq"
readonly REDIS_PACKAGES="redis-server redis-tools"

# host_mirrors: "RANK URI KEYRING" of each of the host's apt entries that may be Debian's archive,
# best first. Third-party archives use the host's suite name too, so a rank is only an order in
# which to try: the archive's signature decides.
host_mirrors() {
  local codename file files=()
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  for file in "${APT_ETC:-/etc/apt}"/sources.list "${APT_ETC:-/etc/apt}"/sources.list.d/*; do
    [ -r "$file" ] && files+=("$file")
  done
  awk -v codename="$codename" -f "$ROOT/script/lib/apt_sources.awk" /dev/null "${files[@]}" | sort -k1,1n -s
}

# The keyring of Debian's archive, whatever an entry is signed by; its ending differs by release.
debian_keyring() {
  local file
  for file in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
    if [ -f "$file" ]; then printf '%s' "$file"; return; fi
  done
  return 1
}

# apt_state FOLDER SUITE: an apt state of its own in FOLDER. The host's Acquire settings (proxies,
# certificates, retries) are taken over; its hooks, pins and sources are not.
apt_state() {
  local dir=$1 suite=$2 rank uri keyring
  mkdir -p "$dir/lists/partial" "$dir/archives/partial"
  : >"$dir/status"
  (umask 077 && {
    apt-config dump Acquire | grep -Ev '^Acquire::(IndexTargets|Allow)' || true
    cat <<CONF
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$dir";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
APT::Sandbox::User "";
Debug::NoLocking "true";
CONF
  } >"$dir/apt.conf")
  while read -r rank uri keyring; do
    [ -f "$keyring" ] || keyring=$(debian_keyring)
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$uri" "$suite" >"$dir/sources.list"
    retry 2 apt "$dir" update && return 0
  done < <(host_mirrors)
  return 1
}

# apt FOLDER ARGUMENT…: apt-get on a private state.
apt() {
  local dir=$1
  shift
  APT_CONFIG="$dir/apt.conf" apt-get -qy "$@"
}

# apt_download FOLDER REQUIRED OPTIONAL: the packages with all they depend on, as files. When they
# cannot be had together, the optional ones that stand in the way are left out, with a warning.
apt_download() {
  local dir=$1 wanted="$2 $3" package
  if ! run apt "$dir" --simulate install $wanted; then
    wanted=$2
    for package in $3; do
      if run apt "$dir" --simulate install $wanted "$package"; then
        wanted+=" $package"
      else
        warn "$package cannot be installed from Debian $SUITE; left out"
      fi
    done
  fi
  retry 3 apt "$dir" --download-only install $wanted
}

# unpack ROOT DEB…: without what only people read.
unpack() {
  local root=$1 deb
  shift
  mkdir -p "$root"
  for deb in "$@"; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner \
      --exclude=./usr/share/{doc,man,info,locale,lintian,bug} || return 1
  done
}

# unpack_debian PACKAGES OPTIONAL: fills .dev/debian, which is replaced only when the new one is whole.
unpack_debian() {
  local dir=$DEV/debian.new
  [ -n "$(command -v apt-get)" ] || fail "finding $1" \
    "this host is no Debian, and has neither them nor a gem registry" "install Ruby >= 3.3, Bundler and Redis"
  rm -rf "$dir"
  apt_state "$dir/apt" $SUITE || fail "reading the package list of Debian $SUITE" \
    "the mirror in the host's apt sources is not reached, or not Debian's" "check 'apt-get update' and the proxy settings"
  apt_download "$dir/apt" "$1" "$2" || fail "downloading Debian packages" \
    "the connection was interrupted or the disk is full" "run script/setup again"
  run unpack "$dir/root" "$dir"/apt/archives/*.deb || fail "unpacking Debian packages" \
    "the disk is full" "free 250 MB and run script/setup again"
  replace "$DEV/debian"
}

# replace FOLDER: FOLDER.new takes its place.
replace() {
  rm -rf "$1.old"
  [ ! -e "$1" ] || mv "$1" "$1.old"
  mv "$1.new" "$1"
  rm -rf "$1.old"
}

# unpack_sidekiq7: a copy of the folder (hard links) in which the files of ruby-sidekiq and
# ruby-connection-pool are those of trixie: Sidekiq 7.3 cannot use connection_pool 3.
unpack_sidekiq7() {
  local dir=$DEV/sidekiq-7.3.new deb
  rm -rf "$dir"
  mkdir -p "$dir"
  apt_state "$dir/apt" $OLD_SUITE || return 1
  (cd "$dir/apt/archives" && retry 3 apt "$dir/apt" download ruby-sidekiq ruby-connection-pool) || return 1
  cp -al "$DEV/debian/root" "$dir/root" || return 1
  for deb in "$DEV"/debian/apt/archives/ruby-{sidekiq,connection-pool}_*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -t | grep -v '/$' | (cd "$dir/root" && xargs rm -f) || return 1
  done
  run unpack "$dir/root" "$dir"/apt/archives/*.deb || return 1
  rm -rf "$dir/apt"
  replace "$DEV/sidekiq-7.3"
}

# loader NAME ROOT: prints the folder's program loader under NAME, which a process list then shows.
# The rest differs from an installed program: /proc/PID/exe is the loader, and a process that gives
# itself a new title ($0= in Ruby) has room for the few bytes of its first argument only.
loader() {
  local real
  real=$(find "$2"/usr/lib/*/ -maxdepth 1 -name 'ld-linux-*.so.[0-9]' | head -n 1)
  mkdir -p "$2/loader"
  ln -sf "$real" "$2/loader/$1"
  printf '%s' "$2/loader/$1"
}

# debian_shim NAME ROOT: .dev/bin/NAME runs the program of that name through the folder's loader.
debian_shim() {
  local name=$1 root=$2 loader
  loader=$(loader "$name" "$root")
  write_shim "$name" "exec '$loader' --library-path '$(libraries "$loader")' --argv0 '$name' '$root/usr/bin/$name' \"\$@\""
}

# The folder that a loader came from holds the libraries it goes with.
libraries() { dirname "$(readlink "$1")"; }

# debian_ruby_shim NAME ROOT: as debian_shim, with the folder's load path and gems.
debian_ruby_shim() {
  local name=$1 root=$2 loader libs api load gems
  local ours=$root/usr/lib/ruby
  loader=$(loader "$name" "$root")
  libs=$(libraries "$loader")
  api=$(cd "$libs/ruby" && printf '%s\n' [0-9]*)
  load=$ROOT/script/lib/private_ruby:$ours/vendor_ruby:$libs/ruby/vendor_ruby/$api:$ours/$api:$libs/ruby/$api
  gems=$root/usr/share/rubygems-integration
  gems=$gems/all:$gems/$api:$libs/rubygems-integration/$api:$ours/gems/$api
  # OpenSSL looks for the host's bundle, which a small host has not; installing would have made one.
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/ca-certificates.crt"
  # A program started by one shim may start the other: what any of them added comes off first.
  write_shim "$name" "without_ours() {
	kept= IFS=:
	for entry in \$1; do
		case \$entry in '$DEV'/*|'$ROOT'/script/*) ;; *) kept=\$kept\$entry: ;; esac
	done
	unset IFS
}
without_ours \"\${RUBYLIB:-}\"
export RUBYLIB=\"\$kept$load\"
without_ours \"\${GEM_PATH:-}\"
export GEM_PATH=\"\$kept$gems\"
export GOKIQ_RUBY_SHIM='$DEV/bin/$name' GOKIQ_RBCONFIG='$libs/ruby/$api/rbconfig'
export SSL_CERT_FILE=\"\${SSL_CERT_FILE:-$root/ca-certificates.crt}\"
exec '$loader' --library-path '$libs' --argv0 ruby '$root/usr/bin/ruby${api%.*}' \"\$@\""
}
