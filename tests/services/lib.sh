# What the service scripts share: install jars once, find ports, start, end.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${QUIRE_SERVICES:-$HOME/.cache/quire-services}

say() { printf '%s\n' "$*" >&2; }

die() { say "$*"; exit 1; }

# Java and Maven, installed where that is possible.
need_java() {
  command -v java >/dev/null && command -v mvn >/dev/null && return
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    say 'installing Java 17 and Maven'
    apt-get update -qq >&2 && apt-get install -y -qq openjdk-17-jre-headless maven >&2 && return
  fi
  die 'Java 17 and Maven are missing: apt-get install openjdk-17-jre-headless maven'
}

# Puts the jars of $1-pom.xml into the cache, checked against $1.sha256; prints the folder.
jars() {
  local name=$1 folder=$cache/$1 fresh
  if [ ! -d "$folder" ]; then
    need_java
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/$name.XXXXXX")
    say "fetching the jars of $name"
    mvn -B -q -f "$here/$name-pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$fresh" >&2
    (cd "$fresh" && sha256sum --quiet --strict -c "$here/$name.sha256" >&2) ||
      die "the jars of $name are not the ones that are known: see tests/services/$name.sha256"
    mv -T "$fresh" "$folder" 2>/dev/null || rm -rf "$fresh"
  fi
  printf '%s\n' "$folder"
}

# Prints ports that are free just now, one a line. They are below those that the system gives to
# outgoing connections: one of these would take a port while its server is down. Each call gets
# others than the calls before it: a server that starts listens seconds after its port was chosen.
free_ports() {
  local found=0 port file=${TMPDIR:-/tmp}/quire-services-port
  while [ "$found" -lt "$1" ]; do
    port=$(
      exec 9>>"$file"
      flock 9
      last=$(cat "$file")
      next=$(((${last:-$RANDOM} + 1) % 12000))
      printf '%s\n' "$next" >"$file"
      printf '%s\n' "$((20000 + next))"
    )
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
    printf '%s\n' "$port"
    found=$((found + 1))
  done
}

# Tells whether the process of folder $1 runs: its number may be another's by now.
runs() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$1"
}

# Tells whether the process of folder $1 has ended. While it becomes another program it has no
# command line: for a moment, or for seconds where the program comes from a disk that is busy.
ended() {
  local pid state line
  pid=$(cat "$1/pid")
  state=$(grep '^State:' "/proc/$pid/status" 2>/dev/null) || return 0
  [[ $state != *Z* ]] || return 0
  line=$(tr '\0' ' ' <"/proc/$pid/cmdline") 2>/dev/null || return 0
  [[ -n $line && $line != *"$1"* ]]
}

# Makes a key and a certificate for 127.0.0.1 in folder $1: keys.p12 for the server, ca.pem to trust.
certificate() {
  keytool -genkeypair -alias server -keyalg EC -groupname secp256r1 -validity 30 -dname CN=127.0.0.1 \
    -ext SAN=ip:127.0.0.1,dns:localhost -storetype PKCS12 -keystore "$1/keys.p12" \
    -storepass testing -keypass testing >&2
  keytool -exportcert -rfc -alias server -keystore "$1/keys.p12" -storepass testing \
    -file "$1/ca.pem" >&2
}

# Asks the CQL server at $1 (host:port) for its version; prints nothing where it does not tell.
cql_version() (
  query='SELECT release_version FROM system.local'
  exec 3<>"/dev/tcp/${1%:*}/${1##*:}" || exit 0
  # STARTUP, then QUERY at consistency ONE, in version 4 of the protocol.
  printf '\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0' >&3
  printf '\x04\0\0\x01\x07\0\0\0%b\0\0\0%b%s\0\x01\0' "\\x$(printf %x $((${#query} + 7)))" \
    "\\x$(printf %x ${#query})" "$query" >&3
  timeout 5 cat <&3 | tr -c '[:print:]' '\n' | grep -m 1 -E '^[0-9]+\.[0-9]' || true
) 2>/dev/null

# Waits until the file $2 of folder $1 holds every further argument.
await() {
  local folder=$1 file=$2 line deadline=$((SECONDS + 90))
  shift 2
  for line in "$@"; do
    until grep -qF "$line" "$folder/$file" 2>/dev/null; do
      ! ended "$folder" || {
        tail -n 30 "$folder/$file" >&2
        die 'it ended before it was ready'
      }
      [ "$SECONDS" -lt "$deadline" ] || { tail -n 30 "$folder/$file" >&2; die 'it is not ready'; }
      sleep 0.1
    done
  done
}

# Sends signal $2 to the process of folder $1 and waits until it is gone.
end() {
  local pid deadline=$((SECONDS + 20))
  runs "$1" || return 0
  pid=$(cat "$1/pid")
  kill -"$2" "$pid" 2>/dev/null || true
  while runs "$1"; do
    [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.05
  done
}

# Stops every thread of the process of folder $1: a busy machine stops some later than others.
freeze() {
  local pid deadline=$((SECONDS + 20))
  runs "$1" || return 1
  pid=$(cat "$1/pid")
  kill -STOP "$pid"
  while grep -h '^State:' /proc/"$pid"/task/*/status 2>/dev/null | grep -qv 'T (stopped)'; do
    [ "$SECONDS" -lt "$deadline" ] || die 'it does not stop'
    sleep 0.01
  done
}

# Carries out the verbs that are alike.
common() {
  case $2 in
    kill) end "$1" KILL ;;
    stop) end "$1" TERM ;;
    freeze) freeze "$1" ;;
    thaw) runs "$1" && kill -CONT "$(cat "$1/pid")" ;;
    pid) cat "$1/pid" ;;
    *) die "unknown: $2; there are start, kill, stop, freeze, thaw and pid" ;;
  esac
}
