#!/bin/bash
# Builds the Debian package from what "make" has built: build-deb.sh [DIRECTORY], build/deb without one. Prints its path.
# Two builds of the same tree are the same bytes: every file has the time SOURCE_DATE_EPOCH, by default that of the last commit.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
die() { echo "deb: $*" >&2; exit 1; }
command -v dpkg-deb >/dev/null || die 'dpkg-deb is missing; this needs Debian, or the package dpkg'
[ -e dist/lib/cli/main.js ] && [ -e native/build/holdfast.node ] || die 'nothing is built; run "make deb"'
out=$(realpath -m "${1:-build/deb}")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y package.json)}
version=$(node -p 'require("./package.json").version')
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
umask 022

# SOURCE DESTINATION: files that a program needs to run, and whatever says how it may be used
copy_code() {
  mkdir -p "$2"
  (cd "$1" && find . \( -path ./node_modules -o -path ./doc -o -path ./docs -o -path ./test -o -path ./tests -o -path ./benchmarks \) -prune -o -type f \
    \( -name '*.js' -o -name '*.cjs' -o -name '*.mjs' -o -name '*.node' -o -name package.json -o -iname 'licen[sc]e*' \) -print0 | xargs -0 cp --parents -t "$2")
}

lib=$stage/usr/lib/holdfast
copy_code dist/lib "$lib/dist/lib"
copy_code dist/dashboard "$lib/dist/dashboard"
install -D -m 644 -t "$lib/dashboard" dashboard/index.html dashboard/style.css
install -D -m 755 bin/holdfast "$lib/bin/holdfast"
install -m 644 package.json LICENSE "$lib/"
# Only what runs: neither tests nor what they need.
npm ls --omit=dev --all --parseable 2>/dev/null | sort | while read -r package; do
  case $package in
    "$root") ;;
    */vhost-user-ts-bindings)
      copy_code native/dist "$lib/node_modules/vhost-user-ts-bindings/dist"
      install -D -m 644 native/build/holdfast.node "$lib/node_modules/vhost-user-ts-bindings/build/holdfast.node"
      install -m 644 native/package.json "$lib/node_modules/vhost-user-ts-bindings/" ;;
    *) copy_code "$package" "$lib/${package#"$root"/}" ;;
  esac
done
[ -d "$lib/node_modules/ws" ] || die 'node_modules is incomplete; run "make setup"'
install -m 644 node_modules/uplot/dist/uPlot.min.css "$lib/node_modules/uplot/dist/"
find "$lib" -name '*.node' -exec strip --strip-unneeded {} +
find "$lib" -type f -not -path "$lib/bin/*" -exec chmod 644 {} +

mkdir -p "$stage/usr/bin"
ln -s ../lib/holdfast/bin/holdfast "$stage/usr/bin/holdfast"
install -m 755 packaging/holdfast-blk "$stage/usr/bin/holdfast-blk"
install -D -m 644 qemu-configs/50-holdfast-blk.json "$stage/usr/share/qemu/vhost-user/50-holdfast-blk.json"
install -D -m 644 packaging/systemd/holdfast.service "$stage/usr/lib/systemd/system/holdfast.service"
install -D -m 644 packaging/holdfast.toml "$stage/etc/holdfast/holdfast.toml"
install -D -m 644 packaging/deb/needrestart.conf "$stage/etc/needrestart/conf.d/holdfast.conf"
[ ! -d packaging/libvirt ] || { mkdir -p "$stage/usr/share/holdfast"; cp -r packaging/libvirt "$stage/usr/share/holdfast/libvirt"; }

manual=$(mktemp -d -p "$stage")
node dist/packaging/write-manual.js "$manual"
install -D -m 644 "$manual/holdfast.bash" "$stage/usr/share/bash-completion/completions/holdfast"
install -d "$stage/usr/share/man/man1"
for page in "$manual"/man1/*; do gzip -9n < "$page" > "$stage/usr/share/man/man1/$(basename "$page").gz"; done
rm -rf "$manual"
install -d "$stage/usr/share/doc/holdfast"
install -m 644 README.md "$stage/usr/share/doc/holdfast/"
install -d "$stage/usr/share/doc/holdfast/docs"
install -m 644 docs/*.md "$stage/usr/share/doc/holdfast/docs/"
install -m 644 LICENSE "$stage/usr/share/doc/holdfast/copyright"

install -d "$stage/DEBIAN"
install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$stage/DEBIAN/"
printf '%s\n' /etc/holdfast/holdfast.toml /etc/needrestart/conf.d/holdfast.conf > "$stage/DEBIAN/conffiles"
size=$(du -sk --apparent-size --exclude=DEBIAN "$stage" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" packaging/deb/control.in > "$stage/DEBIAN/control"
(cd "$stage" && find . -path ./DEBIAN -prune -o -type f -print0 | sort -z | xargs -0 md5sum | sed 's#\./##' > DEBIAN/md5sums)
chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$out"
deb=$out/holdfast_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$stage" "$deb" >/dev/null
echo "$deb"
