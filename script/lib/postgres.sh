# A PostgreSQL server and Ruby's `pg` for the benchmarks that need a database: Debian's packages,
# unpacked beside the private Ruby. Sourced by script/setup.

readonly POSTGRES_PACKAGES="postgresql ruby-pg"
readonly POSTGRES_PROGRAMS="postgres initdb psql"
# Of all that they depend on: themselves and shared libraries, without those of Perl, Ruby and systemd.
readonly USED_BY_POSTGRES='postgresql(-client)?-[0-9]+|ruby-pg|lib.*'
readonly UNUSED_BY_POSTGRES='lib.*perl.*|libruby.*|libsystemd-shared|libc-(bin|l10n|gconv.*)|libpam-(modules.*|runtime)|libsemanage.*|lib.*-common'

# unpack_postgres ROOT: adds to the folder what it does not have; files that are there are in use.
unpack_postgres() {
  local root=$1 dir=$DEV/postgres.new wanted deb
  rm -rf "$dir"
  apt_state "$dir/apt" $SUITE || return 1
  # Its log goes to the host's folder otherwise, where apt may write it.
  wanted=$(apt "$dir/apt" -o "Dir::Log=$dir/apt" --simulate install $POSTGRES_PACKAGES 2>>"$LOG" | awk '/^Inst/ {print $2}' |
    grep -Ex "$USED_BY_POSTGRES" | grep -Evx "$UNUSED_BY_POSTGRES") || return 1
  (cd "$dir/apt/archives" && retry 3 apt "$dir/apt" download $wanted) || return 1
  rm -rf "$root/usr/lib/postgresql"
  mkdir -p "$root"
  for deb in "$dir"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --no-same-owner --skip-old-files \
      --exclude=./usr/share/{doc,man,info,locale,lintian,bug} || return 1
  done
  rm -rf "$dir"
}

# postgres_shims ROOT: PostgreSQL finds its own files from the path that it is called by, and calls
# its other programs in the same folder: so each shim stands there too, and the program elsewhere.
postgres_shims() {
  local root=$1 bin loader name
  bin=$(cd "$root"/usr/lib/postgresql/*/bin && pwd) || return 1
  mkdir -p "$bin/../programs"
  for name in $POSTGRES_PROGRAMS; do
    loader=$(loader "$name" "$root")
    mv "$bin/$name" "$bin/../programs/$name" || return 1
    write_shim "$name" "exec '$loader' --library-path '$(libraries "$loader")' --argv0 '$bin/$name' '${bin%/bin}/programs/$name' \"\$@\""
    cp "$DEV/bin/$name" "$bin/$name"
  done
}

has_postgres() {
  "$DEV/bin/postgres" --version &>/dev/null && "$DEV/bin/psql" --version &>/dev/null && "$DEV/bin/ruby" -e 'require "pg"' 2>>"$LOG"
}

# make_postgres: a warning when there is none; what needs it then says so.
make_postgres() {
  local root=$DEV/debian/root advice
  if ! command -v apt-get >/dev/null; then
    RESULT="warning: this host is no Debian; no PostgreSQL"
  elif ! { unpack_postgres "$root" && postgres_shims "$root"; }; then
    rm -rf "$DEV/postgres.new"
    RESULT="warning: no PostgreSQL from Debian $SUITE; is the mirror reached? (log: ${LOG#"$ROOT"/})"
  elif ! has_postgres; then
    advice="install the gem pg for it"
    # The suite has moved on since the Ruby was unpacked.
    ! grep -q "$root" "$DEV/bin/ruby" || advice="remove .dev/debian and run script/setup --postgres"
    RESULT="warning: $DEV/bin/ruby cannot load pg; $advice"
  else
    RESULT="$("$DEV/bin/postgres" --version), pg $("$DEV/bin/ruby" -e 'require "pg"; print PG::VERSION') for Ruby"
  fi
}
