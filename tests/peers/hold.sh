# The parts of a peer that survive its reboots, in namespaces of their own: the disk, over the root
# that is never written to, and the network. All of it ends with this process.
# $1 folder of the roots, $2 name of the root, $3 folder to mount in, inside that folder
set -e
cd "$1"
mount -t tmpfs -o mode=755 peer "$3"
mkdir "$3/changes" "$3/work" "$3/root"
mount -t overlay -o "lowerdir=$2,upperdir=$3/changes,workdir=$3/work" peer "$3/root"
ip link set lo up
echo ready
exec sleep infinity
