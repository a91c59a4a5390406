#!/bin/sh
# facts.sh node|begin|end FOLDER [ROOT]: leaves FOLDER/HOST/node.json, what this node is, or begin.json and end.json, what may disturb a
# measurement on it at that time. The first process of a node does it. Ranks wait behind this, so one awk reads everything. What the
# kernel tells of accelerators and the network is looked for below ROOT.
read -r host </proc/sys/kernel/hostname
[ "$1" = end ] || mkdir "$2/$host" 2>/dev/null || exit 0
out=$2/$host/$1 root=${3:-} nvidia=
if [ "$1" = node ] && command -v nvidia-smi >/dev/null; then
  # What it says of its own failure goes to standard output.
  nvidia=$(timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,mig.mode.current,clocks.max.sm,clocks.max.memory,power.limit \
    --format=csv,noheader,nounits 2>/dev/null </dev/null) || nvidia=
fi
nvidia=$nvidia root=$root what=$1 host=$host folder=$(cd "${0%/*}" && pwd -P) awk '
function first(file,   line) { # returns the first line of a file, or nothing
    if ((getline line < file) <= 0) line = ""
    close(file)
    return line
}
function put(name, value) { json = json (json == "" ? "" : ",") "\"" name "\":" value }
function quoted(value) {
    gsub(/["\\]/, "\047", value)
    gsub(/[\001-\037\177]/, " ", value)
    return "\"" value "\""
}
function text(name, value) { if (value != "") put(name, quoted(value)) }
function number(name, value) { if (value ~ /^[0-9.]+$/) put(name, value) }
function base(path) { sub(/.*\//, "", path); return path }
function count(list,   parts, ends, all, i, n) { # returns how many numbers `0-3,7` names
    n = split(list, parts, ",")
    for (i = 1; i <= n; i++) all += split(parts[i], ends, "-") == 2 ? ends[2] - ends[1] + 1 : 1
    return all
}
function processors(   line, at, key, value, package, i, cpu, sockets, cores, socket_seen, core_seen) {
    while ((getline line < "/proc/cpuinfo") > 0) {
        if (!(at = index(line, ":"))) continue
        key = substr(line, 1, at - 1); sub(/[ \t]+$/, "", key)
        value = substr(line, at + 1); sub(/^[ \t]+/, "", value)
        if (key ~ /^processor/) threads++
        else if (key == "model name" || key == "cpu" && model == "") model = value
        else if (key == "CPU implementer") vendor = value
        else if (key == "CPU part" && model == "") model = "ARM " vendor " " value
    }
    close("/proc/cpuinfo")
    for (i = 0; i < threads; i++) {
        cpu = "/sys/devices/system/cpu/cpu" i
        package = first(cpu "/topology/physical_package_id")
        value = first(cpu "/topology/core_id")
        if (package == "" || value == "") continue
        if (!(package in socket_seen)) { socket_seen[package]; sockets++ }
        if (!((package, value) in core_seen)) { core_seen[package, value]; cores++ }
    }
    text("processor", model)
    number("sockets", sockets)
    number("cores", cores)
    if (cores > 0 && threads % cores == 0) number("threads_per_core", threads / cores)
    if ((value = first("/sys/devices/system/node/online")) != "") number("numa_domains", count(value))
}
function governors(   i, value, seen, all) {
    for (i = 0; (value = first("/sys/devices/system/cpu/cpu" i "/cpufreq/scaling_governor")) != ""; i++)
        if (!(value in seen)) { seen[value]; all = all (all == "" ? "" : "+") value }
    text("governor", all)
    value = first("/sys/devices/system/cpu/intel_pstate/no_turbo")
    if (value != "") put("turbo", value == 0 ? "true" : "false")
    else if ((value = first("/sys/devices/system/cpu/cpufreq/boost")) != "") put("turbo", value == 1 ? "true" : "false")
}
function memory(   line, word, huge, size, pages) {
    while ((getline line < "/proc/meminfo") > 0) {
        split(line, word, " ")
        if (word[1] == "MemTotal:") number("memory_bytes", sprintf("%.0f", word[2] * 1024))
        else if (word[1] == "HugePages_Total:") pages = word[2]
        else if (word[1] == "Hugepagesize:") size = word[2]
    }
    close("/proc/meminfo")
    huge = first("/sys/kernel/mm/transparent_hugepage/enabled")
    if (huge != "") { sub(/.*\[/, "", huge); sub(/\].*/, "", huge); huge = "transparent: " huge }
    if (pages > 0) huge = huge (huge == "" ? "" : ", ") "reserved: " pages " of " size " kB"
    text("hugepages", huge)
}
function system_name(   line) {
    while ((getline line < "/etc/os-release") > 0)
        if (line ~ /^PRETTY_NAME=/) { gsub(/^PRETTY_NAME=|"/, "", line); text("os", line); break }
    close("/etc/os-release")
    text("kernel", first("/proc/sys/kernel/osrelease"))
}
function filesystem(   line, word, at, longest, kind) { # of the folder of this script, beside which the work trees stand
    while ((getline line < "/proc/self/mounts") > 0) {
        split(line, word, " ")
        at = word[2]; gsub(/\\040/, " ", at)
        if ((at == "/" || at == folder || index(folder, at "/") == 1) && length(at) >= longest) { longest = length(at); kind = word[3] }
    }
    close("/proc/self/mounts")
    text("filesystem", kind)
}
# An accelerator: nvidia-smi says `[N/A]` of what a card does not have. Memory comes in bytes, clocks in MHz, power in watts.
function gpu(model, driver, bytes, mig, partition, clock, memory_clock, power,   outer) {
    if (model == "") return
    outer = json; json = ""
    text("model", model)
    text("driver", driver ~ /^\[/ ? "" : driver)
    number("memory_bytes", bytes > 0 ? sprintf("%.0f", bytes) : "")
    if (mig ~ /^(En|Dis)abled$/) put("mig", mig == "Enabled" ? "true" : "false")
    text("partition", partition)
    number("max_clock_mhz", clock)
    number("max_memory_clock_mhz", memory_clock)
    number("power_limit_watts", power)
    gpus = gpus (gpus == "" ? "" : ",") "{" json "}"
    json = outer
}
function nvidia_smi(said,   line, lines, field, i, n) {
    n = split(said, line, "\n")
    for (i = 1; i <= n; i++)
        if (split(line[i], field, /, */) == 7) {
            gpu(field[1], field[2], field[3] ~ /^[0-9]+$/ ? field[3] * 1048576 : 0, field[4], "", field[5], field[6], field[7])
            lines++
        }
    return lines
}
function highest(file,   line, word, most) { # of the clocks that a card can take: `1: 1700Mhz *`
    while ((getline line < file) > 0)
        if (split(line, word, " ") > 1 && (word[2] + 0) > most) most = word[2] + 0
    close(file)
    return most
}
function amd(card,   model) {
    if (first(card "/vendor") != "0x1002") return
    model = first(card "/product_name")
    # Cards without a name of their own have a number, at which `lspci` looks it up.
    if (model == "") model = "AMD " first(card "/device")
    gpu(model, first(root "/sys/module/amdgpu/version"), first(card "/mem_info_vram_total") + 0, "",
        first(card "/current_compute_partition"), highest(card "/pp_dpm_sclk"), highest(card "/pp_dpm_mclk"), "")
}
function switches(   value, name) { # from the root of the network to this node, which its name ends
    value = ENVIRON["SLURM_TOPOLOGY_ADDR"]; name = ENVIRON["host"]
    sub(/\..*/, "", name)
    # mpiexec hands on what its own node is told.
    if (length(value) > length(name) + 1 && substr(value, length(value) - length(name)) == "." name)
        text("switches", substr(value, 1, length(value) - length(name) - 1))
}
function devices(   i, path, line, seen_mitigation, mitigations, network, driver, told) {
    if (match(line = first(root "/proc/driver/nvidia/version"), /Module +[0-9.]+/)) {
        driver = substr(line, RSTART, RLENGTH); sub(/Module +/, "", driver)
    }
    told = nvidia_smi(ENVIRON["nvidia"])
    for (i = 1; i < ARGC; i++) {
        path = ARGV[i]
        if (path ~ /vulnerabilities/) {
            if ((line = first(path)) != "") seen_mitigation = 1
            if (line ~ /^Mitigation/) mitigations = mitigations (mitigations == "" ? "" : ", ") base(path)
        } else if (path ~ /nvidia/) {
            while ((getline line < path) > 0)
                if (!told && sub(/^Model:[ \t]*/, "", line)) gpu(line, driver)
            close(path)
        } else if (sub(/\/vendor$/, "", path)) amd(path)
        else if (path ~ /infiniband/) {
            if ((line = first(path)) == "") continue
            sub(/\/rate$/, "", path)
            if (first(path "/state") !~ /ACTIVE/) continue
            line = line " " first(path "/link_layer")
            sub(/\/ports\/[0-9]+$/, "", path)
            if (first(path "/fw_ver") != "") line = line ", firmware " first(path "/fw_ver")
            network = network (network == "" ? "" : "; ") base(path) ": " line
        } else if (path ~ /cxi[0-9]+$/) network = network (network == "" ? "" : "; ") base(path)
    }
    if (seen_mitigation) text("mitigations", mitigations == "" ? "none" : mitigations)
    put("gpus", "[" gpus "]")
    text("interconnect", network)
    switches()
}
function disturbances(   i, value, word, cpu, events, errors, own, job, seen, others) {
    split(first("/proc/loadavg"), word, " ")
    number("load", word[1])
    for (i = 0; (value = first("/sys/devices/system/cpu/cpu" i "/thermal_throttle/core_throttle_count")) != ""; i++)
        events += value
    if (i > 0) number("throttle_events", sprintf("%.0f", events))
    for (i = 0; (value = first("/sys/devices/system/edac/mc/mc" i "/ce_count")) != ""; i++) errors += value
    if (i > 0) number("ecc_errors", sprintf("%.0f", errors))
    # Each job has a slurmstepd here, which calls itself `slurmstepd: [71.batch]`. Where the own one hides, so may others.
    if ((own = ENVIRON["SLURM_JOB_ID"]) == "") return
    for (i = 1; i < ARGC; i++) {
        if (ARGV[i] !~ /\/comm$/ || first(ARGV[i]) != "slurmstepd") continue
        sub(/comm$/, "cmdline", ARGV[i])
        job = first(ARGV[i])
        if (!sub(/.*\[/, "", job)) continue
        sub(/[.\]].*/, "", job)
        if (job in seen) continue
        seen[job]
        if (job != own) others++
    }
    if (own in seen) number("other_jobs", others + 0)
}
BEGIN {
    folder = ENVIRON["folder"]; root = ENVIRON["root"]
    text("name", ENVIRON["host"])
    governors()
    if (ENVIRON["what"] == "node") { processors(); memory(); system_name(); filesystem(); devices() }
    else disturbances()
    print "{" json "}"
}' $(case $1 in
    node) echo /sys/devices/system/cpu/vulnerabilities/* "$root"/proc/driver/nvidia/gpus/*/information \
        "$root"/sys/class/drm/card*/device/vendor "$root"/sys/class/infiniband/*/ports/*/rate "$root"/sys/class/cxi/cxi* ;;
    *) echo /proc/[0-9]*/comm ;;
esac) >"$out.part" && mv -f "$out.part" "$out.json"
