# The part of a link that runs on the device: sh agent.sh NONCE ROOT VERB [ARGUMENT…].
#
# POSIX sh, as in dash, busybox and Android. Every verb may be repeated after a broken link. It ends
# by printing "edgenext NONCE ok", or "edgenext NONCE failed REASON": without that line it is unknown
# whether the verb has ended, whatever the exit code.
#
#   ROOT/store/SHA256          complete files by their content
#   ROOT/parts/SHA256/N        pieces of files that are being sent
#   ROOT/jobs/ID/              one job: pid, boot, exit, err and the files it writes
#   ROOT/clocks                the device's clocks before a job locked them, while it runs
#   ROOT/lock/                 the user of the device: owner (token, lease, name) and beat, the time
#                              of the last sign of it; after the lease without one, the lock is lost
set -u
nonce=$1 root=$2 verb=$3
shift 3
umask 077

ok() { printf '\nedgenext %s ok\n' "$nonce"; exit 0; }
failed() { printf '\nedgenext %s failed %s\n' "$nonce" "$*"; exit 1; }

uptime_s() { # a clock that is never set; it restarts with the machine
  if read -r up _ </proc/uptime; then echo "${up%%.*}"; else date +%s; fi
} 2>/dev/null
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown; }
free_kib() { df -Pk "$root" 2>/dev/null | { read -r _; read -r _ _ _ free _; echo "${free:-0}"; }; }
sum() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi <"$1" | cut -c1-64; }
size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo -1; fi; }
last_error() { tail -n 1 "$root/error" 2>/dev/null; rm -f "$root/error"; }

alive() { # whether the job in the folder $1 runs: the pid alone may belong to another program
  [ -f "$1/pid" ] && [ "$(cat "$1/boot" 2>/dev/null)" = "$(boot)" ] || return 1
  kill -0 "-$(cat "$1/pid")" 2>/dev/null || kill -0 "$(cat "$1/pid")" 2>/dev/null
}
restored() { # wait until the clocks of a job that has ended are restored
  tries=0
  while [ -f "$root/clocks" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
}
end() { # kill the job's process group
  alive "$1" || return 0
  kill -9 "-$(cat "$1/pid")" 2>/dev/null || kill -9 "$(cat "$1/pid")" 2>/dev/null
  restored
}
end_all() { for job in "$root"/jobs/*; do [ -d "$job" ] && end "$job"; done; return 0; }
beat() { [ -d "$root/lock" ] && uptime_s >"$root/lock/beat.new" && mv "$root/lock/beat.new" "$root/lock/beat"; }
age() { # seconds since the last sign of the owner of the lock
  then=$(cat "$root/lock/beat" 2>/dev/null || echo 0) now=$(uptime_s)
  if [ "$now" -lt "$then" ]; then echo 999999; else echo $((now - then)); fi
}
holder() { # read the lock: token, lease and owner; a lock without them may be taken
  read -r token lease owner 2>/dev/null <"$root/lock/owner" || { token='' lease=0 owner=unknown; return 1; }
}

case $verb in
hello) # make the folders; print ROOT as an absolute path
  mkdir -p "$root/store" "$root/parts" "$root/jobs" 2>/dev/null || failed "cannot make $root"
  [ -w "$root" ] || failed "cannot write in $root"
  (cd "$root" && pwd)
  ok
  ;;
lock) # TOKEN OWNER LEASE_S [FORMER_OWNER]: FORMER_OWNER is known to have ended
  if ! mkdir "$root/lock" 2>/dev/null; then
    holder || { sleep 1; holder; } # a new owner may not have written its name yet
    if [ "$token" = "$1" ]; then beat; ok; fi
    age_s=$(age)
    if [ "$age_s" -lt "$lease" ] && [ "$owner" != "${4:-}" ]; then failed "in use by $owner, last seen $age_s s ago"; fi
    end_all
    rm -rf "$root/lock"
    mkdir "$root/lock" 2>/dev/null || failed "in use by another process that was faster"
  fi
  { beat && printf '%s %s %s\n' "$1" "$3" "$2" >"$root/lock/owner"; } \
    || { rm -rf "$root/lock"; failed "no space left in $root"; }
  holder
  [ "$token" = "$1" ] || failed "in use by $owner, which came at the same time"
  ok
  ;;
owner) # the owner of the lock
  cat "$root/lock/owner" 2>/dev/null
  ok
  ;;
unlock) # TOKEN
  holder
  [ "$token" = "$1" ] && rm -rf "$root/lock"
  ok
  ;;
need) # SHA256 SIZE PIECE: "have", or the free KiB and the numbers of the missing pieces
  beat
  if [ "$(size "$root/store/$1")" = "$2" ]; then echo have; ok; fi
  free_kib
  mkdir -p "$root/parts/$1" || failed "no space left in $root"
  index=0 rest=$2
  while [ "$rest" -gt 0 ]; do
    piece=$3
    [ "$rest" -lt "$piece" ] && piece=$rest
    [ "$(size "$root/parts/$1/$index")" = "$piece" ] || echo "$index"
    index=$((index + 1)) rest=$((rest - piece))
  done
  ok
  ;;
join) # SHA256 PIECES: join the pieces to a file with that hash
  beat
  new=$root/parts/$1/whole index=0
  : >"$new" || failed "no space left in $root"
  while [ "$index" -lt "$2" ]; do
    if ! cat "$root/parts/$1/$index" >>"$new" 2>"$root/error"; then
      error=$(last_error); rm -rf "$root/parts/$1"; failed "${error:-a piece is missing}"
    fi
    rm -f "$root/parts/$1/$index" "$root/error"
    index=$((index + 1))
  done
  if [ "$(sum "$new")" != "$1" ]; then rm -rf "$root/parts/$1"; failed "a file arrived with another sha256"; fi
  mv "$new" "$root/store/$1" && rm -rf "$root/parts/$1"
  ok
  ;;
drop) # SHA256: remove the pieces of a file that will not be completed
  rm -rf "$root/parts/$1"
  ok
  ;;
start) # ID LEASE_S CLOCKS PROGRAM [ARGUMENT…]: start a job that neither runs nor has succeeded
  # CLOCKS is empty, or the jetson_clocks that locks the clocks while the job runs
  job=$root/jobs/$1 lease=$2 clocks=$3
  shift 3
  beat
  mkdir -p "$job" || failed "no space left in $root"
  if [ "$(cat "$job/exit" 2>/dev/null)" = 0 ] || alive "$job"; then ok; fi
  restored
  rm -f "$job/exit" "$job/pid" "$root/clocks"
  boot >"$job/boot" || failed "no space left in $root"
  cd "$job" || failed "cannot enter $job"
  cat >"$job/job.sh" <<'JOB' || failed "no space left in $root"
echo $$ >pid
lock=$1 lease=$2 clocks=$3 saved=${1%lock}clocks
shift 3
up() { if read -r up _ </proc/uptime; then echo "${up%%.*}"; else date +%s; fi; } 2>/dev/null
( # a job ends by itself when there is no sign of its owner any more
  while sleep 2; do
    [ -f exit ] && exit 0
    then=$(cat "$lock/beat" 2>/dev/null || echo 0) now=$(up)
    if [ $((now - then)) -gt "$lease" ]; then kill -9 0; fi
  done
) &
watch=$!
if [ -n "$clocks" ]; then
  [ "$(id -u)" = 0 ] || clocks="sudo -n $clocks"
  if ! error=$($clocks --store "$saved" 2>&1); then
    rm -f "$saved"
    echo "the clocks cannot be locked: $(echo "$error" | tail -n 1)" >&2
    kill "$watch" 2>/dev/null
    echo 1 >exit
    exit 1
  fi
  # in a session of its own, which outlives the job in every case
  setsid sh -c '
    while kill -0 "$1" 2>/dev/null; do sleep 1; done
    $2 --restore "$3" >/dev/null 2>&1
    rm -f "$3"
  ' sh $$ "$clocks" "$saved" </dev/null >/dev/null 2>&1 &
  $clocks >/dev/null
fi
"$@"
code=$?
kill "$watch" 2>/dev/null
echo "$code" >exit.new && mv exit.new exit
JOB
  setsid sh "$job/job.sh" "$root/lock" "$lease" "$clocks" "$@" </dev/null >>"$job/out" 2>"$job/err" &
  tries=0
  while [ ! -s "$job/pid" ] && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  [ -s "$job/pid" ] || failed "the job did not start: $(tail -n 1 "$job/err")"
  ok
  ;;
follow) # ID FILE OFFSET: a line "running", "exit N", "rebooted" or "gone", then FILE from OFFSET on
  job=$root/jobs/$1
  beat
  running=no
  alive "$job" && running=yes # before the test for exit: a job writes that before it ends
  if [ -f "$job/exit" ]; then echo "exit $(cat "$job/exit")"
  elif [ "$running" = yes ]; then echo running
  elif [ -f "$job/pid" ] && [ "$(cat "$job/boot")" != "$(boot)" ]; then echo rebooted
  else echo gone; fi
  [ -f "$job/$2" ] && tail -c "+$(($3 + 1))" "$job/$2"
  ok
  ;;
stop) # ID: end the job and all its processes
  end "$root/jobs/$1"
  ok
  ;;
remove) # ID
  end "$root/jobs/$1"
  rm -rf "${root:?}/jobs/$1"
  ok
  ;;
tidy) # ID: remove all other jobs
  for job in "$root"/jobs/*; do
    [ -d "$job" ] && [ "${job##*/}" != "$1" ] && { end "$job"; rm -rf "$job"; }
  done
  ok
  ;;
clean) # remove all our files
  end_all
  rm -rf "${root:?}"
  ok
  ;;
*) failed "unknown verb $verb" ;;
esac
