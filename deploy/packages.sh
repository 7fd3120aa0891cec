#!/bin/sh
# packages.sh build|test|bench - install the Debian 12 packages for building sipeat, those for its tests too, or those
# for measuring it beside others as well.
# Does nothing when all are there. Needs root, or sudo; without either it says what to install.
set -eu

build='gcc libc6-dev cmake ninja-build pkg-config ca-certificates libuv1-dev liblua5.4-dev lua-cjson-dev
  librdkafka-dev libcurl4-openssl-dev libmicrohttpd-dev zlib1g-dev libsqlite3-dev libsodium-dev
  libmimalloc-dev libpq-dev libserialport-dev libjs-chart.js nodejs npm'
test='clang libclang-rt-14-dev clang-format clang-tidy lua-check python3 python3-pip openssl git procps
  maven kcat curl opensmtpd libcjson-dev faketime postgresql strace socat tio
  qemu-system-x86 busybox-static cpio udev chromium nginx wrk prometheus
  dpkg-dev file systemd mandoc bsdextrautils zsh fish golang'
bench='libnginx-mod-http-lua openjdk-17-jdk-headless linux-perf'

case ${1:-} in
  build) wanted=$build ;;
  test) wanted="$build $test" ;;
  bench) wanted="$build $test $bench" ;;
  *) echo "usage: $0 build|test|bench" >&2; exit 2 ;;
esac

missing=''
for package in $wanted; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=none
  # Other packages of Node bring npm with them, and cannot stand beside Debian's.
  [ "$package" != npm ] || ! command -v npm >/dev/null || state=installed
  # A newer Go from go.dev is as good.
  [ "$package" != golang ] || ! command -v go >/dev/null || state=installed
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=''
if [ "$(id -u)" -ne 0 ]; then
  root=sudo
  if ! command -v sudo >/dev/null; then
    printf '%s\n' "Some packages are missing, and this is not root and has no sudo. As root, run:" \
      "  apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
fi
if ! command -v apt-get >/dev/null; then
  printf '%s\n' "This script knows Debian 12 only. Install what these packages are called here:" " $missing" >&2
  exit 1
fi

echo "Installing Debian packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# --no-remove: a machine that has another mail server keeps it, and is told so.
install() {
  # shellcheck disable=SC2086 # a list of words
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-remove --no-install-recommends \
    -o Dpkg::Use-Pty=0 $missing </dev/null >>"$log" 2>&1
}

# What is installed for the tests must not start by itself: no mail server on port 25.
quiet=''
if [ ! -e /usr/sbin/policy-rc.d ]; then
  quiet=yes
  printf '#!/bin/sh\nexit 101\n' | $root tee /usr/sbin/policy-rc.d >/dev/null
  $root chmod 755 /usr/sbin/policy-rc.d
fi
status=0
install || {
  $root apt-get update -q </dev/null >>"$log" 2>&1 || true
  install
} || status=1
[ -z "$quiet" ] || $root rm -f /usr/sbin/policy-rc.d
case $missing in
  *opensmtpd* | *nginx* | *prometheus*)
    ! command -v systemctl >/dev/null || $root systemctl disable opensmtpd nginx prometheus >>"$log" 2>&1 || true ;;
esac
if [ $status -ne 0 ]; then
  tail -n 15 "$log" >&2
  echo "The packages could not be installed:$missing" >&2
fi
exit $status
