#!/bin/bash
# Builds the image from this checkout: containers/build.sh [--cpu] [OUTPUT.sif]
# --cpu leaves out torch and the CUDA libraries, for nodes without a GPU and for trying the rest.
# Needs apptainer or singularity with fakeroot, python3 with pip, and the internet; no root and no GPU.
set -euo pipefail

die() {
  echo "build.sh: $*" >&2
  exit 1
}

extra=gpu
if [ "${1:-}" = --cpu ]; then
  extra=worker
  shift
fi
[ $# -le 1 ] || die "usage: containers/build.sh [--cpu] [OUTPUT.sif]"
containers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$containers")
output=$(realpath -m -- "${1:-audioctl.sif}")
[ ! -e "$output" ] || die "$output exists already; remove it first, or give another name."

runtime=$(type -P apptainer singularity | head -n 1 || true) # type fails where either is missing
[ -n "$runtime" ] || die "there is neither apptainer nor singularity here; try: module load apptainer"

# A folder of its own, so that the image holds the wheel and nothing else of the checkout.
staging=$(mktemp -d)
trap 'rm -rf -- "$staging"' EXIT
mkdir "$staging/payload"
cp "$containers/audioctl.def" "$staging"
cp "$containers/constraints.txt" "$staging/payload"

python3 -m pip wheel --quiet --no-deps --wheel-dir "$staging/payload" "$repository"
wheel=$(basename "$staging"/payload/audioctl-*.whl)
version=${wheel#audioctl-}
version=${version%%-*}
# --dirty: an image from a changed checkout says so.
revision=$(git -C "$repository" describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null || echo unknown)
created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
printf '%s=%q\n' \
  wheel "$wheel" extra "$extra" version "$version" revision "$revision" created "$created" \
  > "$staging/payload/build-info"

cd "$staging"
"$runtime" build --fakeroot "$output" audioctl.def
echo "Built $output: audioctl[$extra] $version, commit $revision"
