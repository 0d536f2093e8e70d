#!/bin/sh
# The facts of a device, in sections that each start with a line "== NAME". The last section is
# "== end": output without it was cut off. POSIX sh for dash, busybox and mksh; it works without
# root, changes nothing, and always ends with 0.
#
# $1: the folder for our files; $2: the Python interpreter to probe; $3: the timeout of that in
# seconds.
# The script may be read from standard input (sh -s), so no program in it may read from there.
folder=${1:-/tmp}
python=${2:-python3}
python_timeout=${3:-120}
LC_ALL=C
export LC_ALL
unset OMP_NUM_THREADS OMP_THREAD_LIMIT
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin:/system/bin:/vendor/bin
export PATH
guard=
timeout 5 true </dev/null >/dev/null 2>&1 && guard=timeout

section() {
    echo
    echo "== $1"
}

# limited SECONDS COMMAND...: the command's output, both streams, for that many seconds at most.
limited() {
    seconds=$1
    shift
    if [ -n "$guard" ]; then
        timeout "$seconds" "$@" </dev/null 2>&1
        return $?
    fi
    "$@" </dev/null 2>&1 &
    job=$!
    (
        sleep "$seconds"
        kill "$job"
    ) </dev/null >/dev/null 2>&1 &
    watch=$!
    wait "$job" 2>/dev/null
    code=$?
    kill "$watch" 2>/dev/null
    wait "$watch" 2>/dev/null
    return $code
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# show FILE: its text, with NULs as line ends; nothing where it cannot be read.
show() {
    [ -r "$1" ] && limited 5 cat "$1" 2>/dev/null | tr '\000' '\n'
}

# first NAME FILE...: "NAME FILE" of the first file that can be run.
first() {
    name=$1
    shift
    for file in "$@" "$(command -v "$name" 2>/dev/null)"; do
        if [ -f "$file" ] && [ -x "$file" ]; then
            echo "$name $file"
            return
        fi
    done
}

# each NAME FILE...: NAME and the first line of each file, "-" for a file that cannot be read.
each() {
    line=$1
    shift
    for file in "$@"; do
        value=-
        [ -r "$file" ] && read -r value 2>/dev/null <"$file"
        line="$line ${value:--}"
    done
    echo "$line"
}

section uname
uname -m 2>/dev/null
uname -r 2>/dev/null
uname -s 2>/dev/null

section os_release
show /etc/os-release

section cpus
nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo 2>/dev/null

section memory
grep MemTotal /proc/meminfo 2>/dev/null

section disk
place=$folder
[ -d "$place" ] || place=/tmp
[ -d "$place" ] || place=/
limited 10 df -Pk "$place"

section cpuinfo
grep -iE '^(vendor_id|model name|model[[:space:]]*:|hardware|features|flags|cpu implementer|cpu part)' \
    /proc/cpuinfo 2>/dev/null | sort -u

section boot_id
show /proc/sys/kernel/random/boot_id

# The executables of this shell and of the processes above it. Under user-mode emulation these are
# the emulator, which hides itself only from the process that reads its own entry.
section ancestors
pid=$$
depth=0
while [ "${pid:-0}" -gt 1 ] 2>/dev/null && [ "$depth" -lt 12 ]; do
    readlink "/proc/$pid/exe" 2>/dev/null
    parent=
    while read -r key value rest; do
        if [ "$key" = PPid: ]; then
            parent=$value
            break
        fi
    done 2>/dev/null <"/proc/$pid/status"
    pid=$parent
    depth=$((depth + 1))
done

section user
id -u 2>/dev/null

tree=/sys/firmware/devicetree/base
[ -r $tree/model ] || tree=/proc/device-tree

section model
show $tree/model
[ -r $tree/model ] || show /sys/class/dmi/id/product_name

section compatible
show $tree/compatible

section thermal
for zone in /sys/class/thermal/thermal_zone*; do
    [ -r "$zone/type" ] && each "${zone##*/}" "$zone/type" "$zone/temp"
done

section cpufreq
for cpu in /sys/devices/system/cpu/cpu[0-9]*/cpufreq; do
    [ -d "$cpu" ] || continue
    name=${cpu%/cpufreq}
    each "${name##*/}" "$cpu/scaling_governor" "$cpu/scaling_min_freq" "$cpu/scaling_max_freq"
done

section devfreq
for unit in /sys/class/devfreq/*; do
    [ -d "$unit" ] || continue
    each "${unit##*/}" "$unit/governor" "$unit/min_freq" "$unit/max_freq"
done

section tegra_release
show /etc/nv_tegra_release

if [ -r /etc/nv_tegra_release ] || have nvpmodel; then
    section nvpmodel
    limited 10 nvpmodel -q

    section nvpmodel_modes
    modes=$(limited 10 nvpmodel -p --verbose | grep POWER_MODEL)
    [ -n "$modes" ] || modes=$(grep '^< *POWER_MODEL' /etc/nvpmodel.conf 2>/dev/null)
    echo "$modes"

    section jetson_clocks
    limited 20 jetson_clocks --show

    section rails
    for file in /sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in[0-9]*_label \
        /sys/bus/i2c/drivers/ina3221*/*/iio:device*/rail_name_*; do
        [ -r "$file" ] && show "$file"
    done
fi

section packages
if have dpkg-query; then
    # shellcheck disable=SC2016
    limited 20 dpkg-query -W -f='${Package} ${Version}\n' 'libnvinfer[0-9]*' tensorrt nvidia-jetpack \
        nvidia-l4t-core 2>/dev/null | grep -v 'no packages found'
fi
for file in /usr/include/aarch64-linux-gnu/NvInferVersion.h /usr/include/NvInferVersion.h; do
    [ -r "$file" ] && grep -E 'define (NV_TENSORRT|TRT)_(MAJOR|MINOR|PATCH)' "$file" 2>/dev/null
done

section cuda
if [ -r /usr/local/cuda/version.json ]; then
    show /usr/local/cuda/version.json
else
    show /usr/local/cuda/version.txt
fi

section tools
first trtexec /usr/src/tensorrt/bin/trtexec
first benchmark_model "$folder/benchmark_model" /data/local/tmp/benchmark_model
for tool in tegrastats nvpmodel jetson_clocks timeout taskset setsid; do
    first "$tool"
done

if have getprop; then
    section getprop
    limited 10 getprop | grep -E \
        '^\[ro\.(soc|product|board|hardware|chipname|build\.version|kernel\.qemu|boot\.qemu|mediatek)'

    section thermalservice
    limited 10 dumpsys thermalservice

    section battery
    limited 10 dumpsys battery

    section power
    limited 10 dumpsys power | grep -E 'mWakefulness=|mWakefulnessRaw=|mDeviceIdleMode='

    section deviceidle
    limited 10 dumpsys deviceidle | grep -E 'mState=|mLightState=|mScreenOn='
fi

section python
code=$(
    cat <<'PYTHON'
import json, platform, sys

def say(name, **facts):
    sys.stdout.write("\n" + json.dumps({name: facts}) + "\n")
    sys.stdout.flush()

say("python", version=platform.python_version(), machine=platform.machine())
for name in ("numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime", "openvino", "tensorrt"):
    say(name, error="the interpreter died while it was imported")
    try:
        module = __import__(name)
        if name in ("ai_edge_litert", "tflite_runtime"):
            __import__(name + ".interpreter")
        facts = {"version": getattr(module, "__version__", "")}
        if not facts["version"]:
            from importlib import metadata
            facts["version"] = metadata.version(name.replace("_", "-"))
        if name == "onnxruntime":
            facts["providers"] = module.get_available_providers()
        say(name, **facts)
    except ModuleNotFoundError as e:
        if e.name == name:
            say(name)
        else:
            say(name, error="%s: %s" % (type(e).__name__, e))
    except BaseException as e:
        say(name, error="%s: %s" % (type(e).__name__, e))
PYTHON
)
limited "$python_timeout" "$python" -c "$code"
echo "code $?"

section end
exit 0
