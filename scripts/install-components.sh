#!/usr/bin/env bash
# Installs the programs that the tests in test/real and test/browser run against: containerd,
# docker-registry, Chromium with fonts, and what they need. Idempotent, and a few milliseconds when all is there. Needs Debian, root and the network
# only for what is missing; exits 1 and says what is missing if it cannot install it.
#
# Also fetches a newer containerd and unpacks it into a folder of its own, without installing it:
#   ${PULLWARDEN_COMPONENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/pullwarden/components}/containerd-next
# That one is optional: where it cannot be fetched, a line says so, and its tests are skipped.
set -euo pipefail

readonly COMPONENTS=${PULLWARDEN_COMPONENTS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pullwarden/components}
readonly NEXT="$COMPONENTS/containerd-next"
# Newest first; the first that can be fetched and that runs here is taken.
readonly NEXT_SUITES=(forky trixie)
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly LOCK_TIMEOUT_SECONDS=120
readonly FETCH_TIMEOUT_SECONDS=120

# What a browser writes with; without any font, charts have no words. family:package
readonly FONTS='DejaVu Sans:fonts-dejavu-core'
# program:package
readonly PROGRAMS=(
  chromium:chromium
  fc-list:fontconfig
  script:bsdutils
  containerd:containerd
  ctr:containerd
  docker-registry:docker-registry
  htpasswd:apache2-utils
  openssl:openssl
  setpriv:util-linux
  mkfs.ext4:e2fsprogs
  mkfs.xfs:xfsprogs
  strace:strace
)
# Where Debian puts daemons need not be on the PATH of a user.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing_packages() {
  local entry
  for entry in "${PROGRAMS[@]}"; do
    command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
  done | sort -u
  [[ -n $(fc-list "${FONTS%%:*}" 2>/dev/null) ]] || echo "${FONTS#*:}"
}

update_lists() {
  apt-get -q -o DPkg::Lock::Timeout="$LOCK_TIMEOUT_SECONDS" update
}

install_packages() {
  # The run level keeps the packages' own services from being started, on the real port and paths.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q \
    -o DPkg::Lock::Timeout="$LOCK_TIMEOUT_SECONDS" install -y --no-install-recommends "$@"
}

# Where this machine gets its own release from, without its security updates: one address.
archive() {
  (
    . /etc/os-release
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(LABEL)' \
      'Identifier: Packages' | awk -v suite="${VERSION_CODENAME:-}" \
      '$2 == suite && $3 == "main" && $4 == "Debian" { print $1; exit }'
  )
}

# fetch_next SUITE: containerd of another release, by a view of the archive that nothing else sees.
fetch_next() {
  local suite=$1 address scratch status=0 view next
  address=$(archive)
  [[ -n $address && -r $KEYRING ]] || return 1
  scratch=$(mktemp -d)
  # Joined by &&, because errexit is off inside a function whose result is looked at.
  {
    chmod 755 "$scratch" && cd "$scratch" &&
      mkdir -p lists/partial cache/archives/partial tree &&
      printf 'deb [signed-by=%s] %s %s main\n' "$KEYRING" "$address" "$suite" >sources.list &&
      view=(-q -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=-
        -o Dir::State::lists="$scratch/lists" -o Dir::Cache="$scratch/cache"
        -o Dir::Etc::preferencesparts=- -o APT::Sandbox::User=root) &&
      timeout "$FETCH_TIMEOUT_SECONDS" apt-get "${view[@]}" update &&
      timeout "$FETCH_TIMEOUT_SECONDS" apt-get "${view[@]}" download containerd &&
      dpkg -x containerd_*.deb tree &&
      tree/usr/bin/containerd --version && # one that needs newer libraries does not run
      mkdir -p "$COMPONENTS" && next=$(mktemp -d "$NEXT.XXXXXX") && chmod 755 "$next" &&
      cp tree/usr/bin/containerd tree/usr/bin/ctr "$next/" &&
      rm -rf "$NEXT" && mv -T "$next" "$NEXT" # whole or not at all
  } >"$scratch/log" 2>&1 || status=1
  ((status == 0)) || tail -n 3 "$scratch/log" >&2
  rm -rf "$scratch"
  return "$status"
}

lists_updated=
missing=$(missing_packages)
if [[ -n $missing ]]; then
  missing=${missing//$'\n'/ }
  if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get to install them: $missing" >&2
    exit 1
  fi
  if ((EUID != 0)); then
    echo "missing, and only root can install them: $missing" >&2
    exit 1
  fi
  # Package lists that are there already may do.
  # shellcheck disable=SC2086 # one word a package
  if ! install_packages $missing 2>/dev/null; then
    { update_lists && install_packages $missing; } || true
    lists_updated=yes
  fi
  missing=$(missing_packages)
  if [[ -n $missing ]]; then
    echo "missing, and could not be installed: ${missing//$'\n'/ }" >&2
    exit 1
  fi
fi

if [[ ! -x $NEXT/containerd ]]; then
  fetched=
  if command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    if [[ -z $(archive) && -z $lists_updated ]] && ((EUID == 0)); then update_lists || true; fi
    for suite in "${NEXT_SUITES[@]}"; do
      if (fetch_next "$suite"); then
        fetched=yes
        break
      fi
    done
  fi
  [[ -n $fetched ]] || echo "no newer containerd could be fetched: its tests are skipped" >&2
fi

containerd --version
[[ ! -x $NEXT/containerd ]] || "$NEXT/containerd" --version
