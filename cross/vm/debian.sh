# Sourced by setup.sh: Debian's packages of any suite and processor, fetched with an apt that has
# its own state and changes nothing on the machine. Signatures are checked as always.

# The mirror that the machine itself uses.
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' |
    sed -n 's/ Debian$//p' | sort -u | head -n 1
}

# Sets `apt`, options for suite $1 and processor $2, and updates its lists.
open_suite() {
  local suite=$1 processor=$2 uri keys=/usr/share/keyrings/debian-archive-keyring.gpg
  local state=$work/apt/$suite-$processor
  uri=$(mirror)
  [ -n "$uri" ] || { twice apt-get -qq update && uri=$(mirror); }
  [ -n "$uri" ] || fail "apt on this machine has no Debian mirror; is this Debian?"
  [ -e "$keys" ] || fail "Debian's keys are missing: apt-get install debian-archive-keyring"
  apt=(-qq -o Dir::State="$state" -o Dir::Cache="$state" -o Dir::State::Status="$state/status"
    -o Dir::Etc::SourceList="$state/debian.sources" -o Dir::Etc::SourceParts=/dev/null
    -o APT::Architecture="$processor" -o APT::Architectures="$processor"
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any)
  [ ! -d "$state" ] || return 0
  mkdir -p "$state"/{lists,archives}/partial
  touch "$state/status"
  printf '%s\n' "Types: deb" "URIs: $uri" "Suites: $suite" "Components: main" \
    "Signed-By: $keys" >"$state/debian.sources"
  twice apt-get "${apt[@]}" update ||
    fail "apt has no $suite for $processor from $uri; if the suite has left that mirror, it has \
moved to Debian's archive, else look at the network"
}

# Fetches packages of suite $1 for processor $2 and unpacks them into folder $3.
fetch() {
  local suite=$1 processor=$2 folder=$3 debs
  shift 3
  open_suite "$suite" "$processor"
  debs=$(mktemp -d "$work/debs.XXXX")
  (cd "$debs" && twice apt-get "${apt[@]}" download "$@") || fail "apt could not fetch $*"
  unpack "$debs" "$folder"
}

# The same with everything that the packages need to run.
fetch_whole() {
  local suite=$1 processor=$2 folder=$3
  shift 3
  open_suite "$suite" "$processor"
  twice apt-get "${apt[@]}" install --yes --download-only "$@" || fail "apt could not fetch $*"
  unpack "$work/apt/$suite-$processor/archives" "$folder"
}

# Unpacks the packages in folder $1 into folder $2.
unpack() {
  local deb
  mkdir -p "$2"
  for deb in "$1"/*.deb; do
    dpkg -x "$deb" "$2"
  done
}

# Runs a command, once more if it fails, and shows its output only if it fails twice.
twice() {
  local said
  "$@" &>/dev/null || said=$("$@" 2>&1) || {
    echo "$said" >&2
    return 1
  }
}
