# A Ruby with YJIT, which Rails turns on by itself and Debian's build leaves out: the same source,
# patched as Debian patches it, built with --enable-yjit. Only its library is new; programs, gems and
# extensions are those of .dev/debian. Sourced by script/setup.

# has_yjit: whether .dev/bin/ruby-yjit compiles.
has_yjit() {
  [ -x "$DEV/bin/ruby-yjit" ] && run "$DEV/bin/ruby-yjit" --yjit -e 'exit(RubyVM::YJIT.enabled?)'
}

# yjit_source FOLDER PACKAGE: Debian's source of it, patched, in FOLDER/src.
yjit_source() {
  local dir=$1 package=$2 patch
  apt_state "$dir/apt" $SUITE || return 1
  sed -i 's/^deb \(.*\)/&\ndeb-src \1/' "$dir/apt/sources.list"
  retry 2 apt "$dir/apt" update || return 1
  # The archive may have a newer description of the package beside the same files: those count.
  (cd "$dir" && run apt "$dir/apt" --download-only source "$package" || true)
  APT_CONFIG="$dir/apt/apt.conf" apt-cache showsrc "$package" |
    awk '/^Checksums-Sha256:/ {sums = 1; next} /^[^ ]/ {sums = 0} sums && /\.tar\./ {print $1 "  " $3}' |
    sort -u >"$dir/sums"
  [ -s "$dir/sums" ] && (cd "$dir" && run sha256sum --check --quiet sums) || return 1
  mkdir -p "$dir/src"
  tar -x -C "$dir/src" --strip-components=1 -f "$dir/$package"_*.orig.tar.* &&
    tar -x -C "$dir/src" -f "$dir/$package"_*.debian.tar.* || return 1
  for patch in $(grep -v '^#' "$dir/src/debian/patches/series"); do
    (cd "$dir/src" && run patch -p1 -s --no-backup-if-mismatch <"debian/patches/$patch") || return 1
  done
  # The patches are newer than what Debian's maintainers made of them.
  touch "$dir/src/configure"
}

# rust_compiler FOLDER: prints a rustc that YJIT can be built with: the host's, else Debian's.
rust_compiler() {
  local dir=$1 found
  if found=$(host_command rustc) && "$found" --version | grep -Eq ' 1\.(5[89]|[6-9][0-9]|[1-9][0-9]{2})\.'; then
    printf '%s' "$found"
    return
  fi
  apt_state "$dir/rust" $SUITE && apt_download "$dir/rust" rustc "" &&
    run unpack "$dir/rust/root" "$dir"/rust/archives/*.deb || return 1
  debian_shim rustc "$dir/rust/root" && printf '%s' "$DEV/bin/rustc"
}

# build_yjit PACKAGE: fills .dev/yjit with the library, in four minutes on two cores.
build_yjit() {
  local dir=$DEV/yjit.new package=$1 version=${1#ruby} rustc
  rm -rf "$dir"
  mkdir -p "$dir/lib"
  yjit_source "$dir" "$package" || fail "getting the source of $package" \
    "Debian's archive is not reached or has changed meanwhile" "run script/setup --yjit again"
  rustc=$(rust_compiler "$dir") || fail "finding rustc 1.58 or newer" \
    "neither this host nor Debian's archive has it" "install rustc, or run without --yjit"
  (
    cd "$dir/src" || exit 1
    run ./configure --prefix=/usr --enable-multiarch --target="$(dpkg-architecture -qDEB_HOST_MULTIARCH)" \
      --program-suffix="$version" --with-soname="ruby-$version" --enable-shared --disable-rpath \
      --disable-install-doc --with-baseruby="$DEV/bin/ruby" --enable-yjit CC=gcc RUSTC="$rustc" || exit 1
    run make -j"$(nproc)" "libruby-$version.so.$("$DEV/bin/ruby" -e 'print RUBY_VERSION')"
  ) || fail "building $package with YJIT" "a compiler or a header is missing" "install gcc and make, see $LOG"
  cp -P "$dir/src/libruby-$version".so.* "$dir/lib/" && strip --strip-debug "$dir/lib/libruby-$version".so.*.*.*
  rm -rf "$dir/src" "$dir/apt" "$dir/rust" "$dir"/*.tar.* "$dir/sums" "$DEV/bin/rustc"
  replace "$DEV/yjit"
}

# make_yjit: .dev/bin/ruby-yjit, which is .dev/bin/ruby with another library.
make_yjit() {
  local version
  if run "$DEV/bin/ruby" --yjit -e 'exit(RubyVM::YJIT.enabled?)'; then
    ln -sf ruby "$DEV/bin/ruby-yjit"
    RESULT="this Ruby has it"
    return
  fi
  [ -d "$DEV/debian/root" ] || fail "making a Ruby with YJIT" "this host's Ruby is not Debian's" \
    "install a Ruby that has YJIT"
  version=$("$DEV/bin/ruby" -e 'print RUBY_VERSION[/\d+\.\d+/]')
  build_yjit "ruby$version"
  sed -e "s#--library-path '#&$DEV/yjit/lib:#" -e "s#GOKIQ_RUBY_SHIM='[^']*'#GOKIQ_RUBY_SHIM='$DEV/bin/ruby-yjit'#" \
    "$DEV/bin/ruby" >"$DEV/bin/ruby-yjit.new"
  chmod +x "$DEV/bin/ruby-yjit.new"
  mv "$DEV/bin/ruby-yjit.new" "$DEV/bin/ruby-yjit"
  has_yjit || fail "starting Ruby with YJIT" "the library does not fit" "script/setup --verbose --yjit"
  RESULT="$("$DEV/bin/ruby-yjit" --yjit -v)"
}
