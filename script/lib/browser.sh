# A headless Chromium and Playwright to drive it, for the tests of the Web UI: the host's own, else
# the package of the host's Debian, unpacked into a folder and run from there. Sourced by script/setup.

readonly BROWSER_DRIVER="playwright>=1.50"
readonly BROWSER_PACKAGE=chromium-headless-shell
# Not taken: the C library, which must be the one that the host's loader goes with, and what drives
# a screen, a graphics card or dpkg.
readonly UNUSED_BY_BROWSER='libc6|libc-bin|gcc-.*-base|libllvm.*|libz3-.*|libgl1-mesa-dri|mesa-libgallium|x11-.*|xdg-utils|libxaw.*|at-spi2-common|debconf|lsb-base|sysvinit-utils'

# is_browser COMMAND…: whether it shows a page, as no stub or half-installed one does.
is_browser() {
  [[ $(bounded 60 "$@" --headless --no-sandbox --disable-gpu --dump-dom 'data:text/html,<p>shown</p>' 2>>"$LOG") == *'<p>shown</p>'* ]]
}

# host_browser: the path of the one that the host has.
host_browser() {
  local name path
  for name in ${GOKIQ_BROWSER:-chromium-headless-shell chromium google-chrome-stable google-chrome chromium-browser}; do
    path=$(host_command "$name") && is_browser "$path" && printf '%s' "$path" && return
  done
  return 1
}

# unpack_browser SUITE: fills .dev/browser.
unpack_browser() {
  local dir=$DEV/browser.new wanted
  rm -rf "$dir"
  apt_state "$dir/apt" "$1" || return 1
  wanted=$(apt "$dir/apt" --simulate install $BROWSER_PACKAGE 2>>"$LOG" | awk '/^Inst/ {print $2}' | grep -Evx "$UNUSED_BY_BROWSER") || return 1
  (cd "$dir/apt/archives" && retry 3 apt "$dir/apt" download $wanted) || return 1
  run unpack "$dir/root" "$dir"/apt/archives/*.deb || return 1
  rm -rf "$dir/apt"
  replace "$DEV/browser"
}

# browser_shim ROOT: .dev/bin/chromium-headless-shell, with the folder's libraries and fonts.
browser_shim() {
  local root=$1 libs
  # libpulse keeps a part of itself in a folder of its own.
  libs=$(find "$root"/{usr/,}lib -maxdepth 2 \( -path '*-linux-gnu*' -name pulseaudio -o -name '*-linux-gnu*' \) -type d 2>/dev/null | paste -sd:)
  cat >"$root/fonts.conf" <<CONF
<?xml version="1.0"?>
<fontconfig><dir>$root/usr/share/fonts</dir><cachedir>$root/fonts.cache</cachedir></fontconfig>
CONF
  write_shim $BROWSER_PACKAGE "export LD_LIBRARY_PATH='$libs' FONTCONFIG_FILE='$root/fonts.conf'
exec '$root/usr/lib/chromium/chromium-headless-shell' \"\$@\""
}

# make_browser: a warning when there is none; the tests that need it then fail and say so.
make_browser() {
  local browser suite
  suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-}") || suite=
  if ! pip install "$BROWSER_DRIVER"; then
    RESULT="warning: Playwright was not installed (is the package index reached?); the Web UI is not tested"
  elif browser=$(host_browser); then
    write_shim $BROWSER_PACKAGE "exec '$browser' \"\$@\""
    RESULT="the host's $browser"
  elif [ -n "$suite" ] && unpack_browser "$suite" && browser_shim "$DEV/browser/root" && is_browser "$DEV/bin/$BROWSER_PACKAGE"; then
    RESULT="Chromium of Debian $suite in .dev/browser, $(du -sm "$DEV/browser" | cut -f1) MB"
  else
    rm -f "$DEV/bin/$BROWSER_PACKAGE"
    RESULT="warning: no Chromium on this host, and none from Debian's archive; the tests of the Web UI will fail (install chromium, or see the log)"
  fi
}
