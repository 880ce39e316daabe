# What the templates of openruko have in common: a root file system that either holds next to nothing of its own and
# shows the host's /usr read-only, or is laid over a stack. Sourced by them; POSIX sh.
#
# They must stay quick, since people wait for them: a handful of processes, everything else with what the shell
# has built in.
# shellcheck shell=sh

set -eu

program=${0##*/}
name='' path='' rootfs='' resolv_conf=/etc/resolv.conf mounts=''
newline='
'

# Part of what each of them says about itself.
# shellcheck disable=SC2034
common_options='  --resolv-conf=FILE      the name servers [default: /etc/resolv.conf]
  --help
'

fail() {
	printf '%s: %s\n' "$program" "$*" >&2
	exit 1
}

take() { # OPTION VALUE
	case $2 in *"$newline"*) fail "the value of $1 has a line break" ;; esac
	case $1 in
	--name) name=$2 ;;
	--path) path=$2 ;;
	--rootfs) rootfs=$2 ;;
	--resolv-conf) resolv_conf=$2 ;;
	# lxc-create tells a template how ids are mapped. Ours are those of the container: it is run with
	# the map in force, or the map is applied when the file system is mounted.
	--mapped-uid | --mapped-gid) ;;
	*) take_own "$1" "$2" || fail "unknown option $1; see --help" ;;
	esac
}

# The template has `usage`, and `take_own OPTION VALUE`, which fails for an option that it does not know.
read_arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		--) shift ;;
		-h | --help)
			usage
			exit 0
			;;
		--*=*)
			take "${1%%=*}" "${1#*=}"
			shift
			;;
		--*)
			[ $# -gt 1 ] || fail "$1 needs a value"
			take "$1" "$2"
			shift 2
			;;
		*) fail "unexpected argument \`$1'; see --help" ;;
		esac
	done
	[ -n "$name" ] || fail '--name is missing'
	[ -n "$path" ] || fail '--path is missing'
	rootfs=${rootfs:-$path/rootfs}
	case $path:$rootfs in /*:/*) ;; *) fail '--path and --rootfs must be absolute' ;; esac
	[ -d "$rootfs" ] || mkdir "$rootfs"
}

# What of the host's /etc is shown: what programs in /usr need to work, nothing that can hold a secret or
# tell about the host. Only what exists is mounted.
allowed='
alternatives ca-certificates.conf debian_version fonts gai.conf host.conf java java-* ld.so.cache
ld.so.conf ld.so.conf.d locale.alias localtime magic magic.mime maven/logging maven/m2.conf mime.types
perl php/*/cli php/*/mods-available protocols python3 python3.* rpc services ssl/certs ssl/openssl.cnf terminfo timezone xml
'

# Never recursive: mounts below a recursive read-only bind stay writable (lxc issue 4348).
bind() { # SOURCE TARGET [OPTIONS [ro|rw]]
	case $1$2 in *[!A-Za-z0-9/._+@:,=~-]*) fail "cannot mount \`$1' at \`$2': only plain characters" ;; esac
	mounts="${mounts}lxc.mount.entry = $1 ${2#/} none bind,${4:-ro},nosuid,nodev${3:+,$3} 0 0$newline"
}

copy() { # FROM TO, without a process of its own
	while IFS= read -r line || [ -n "$line" ]; do
		printf '%s\n' "$line"
	done <"$1" >"$2"
}

# Directories of the container below which nothing can be made, since the host's are shown there.
shared=''

# The root file system, whose user with id 1000 has this name, with further directories and users. Afterwards it is
# the working directory.
lay_out() { # USER DIRECTORIES PASSWD-LINES
	for link in bin sbin lib; do
		[ -L "/$link" ] || fail "/$link is not a link into /usr: only hosts with a merged /usr can be shared"
	done
	umask 022
	cd /etc
	shared_dirs='' shared_files=''
	for entry in $allowed; do # its patterns expand here, in /etc
		if [ -d "$entry" ]; then
			shared_dirs="$shared_dirs etc/$entry"
		elif [ -f "$entry" ]; then
			shared_files="$shared_files etc/$entry"
		fi
	done
	cd "$rootfs"
	# shellcheck disable=SC2086
	mkdir -p usr dev proc sys run/lock tmp root home app opt/openruko etc/ssl etc/maven etc/profile.d \
		var/cache var/empty var/lib var/log var/tmp $2 $shared_dirs
	for file in $shared_files; do
		: >"$file"
	done
	links='usr/bin usr/sbin usr/lib'
	for link in lib32 lib64 libx32; do
		[ ! -L "/$link" ] || links="$links usr/$link"
	done
	# shellcheck disable=SC2086
	ln -s $links .
	ln -s ../usr/lib/os-release etc/os-release
	write_etc "$1" "$3" '' ''

	bind /usr usr
	for entry in $shared_dirs $shared_files; do
		bind "/$entry" "$entry"
	done
	# shellcheck disable=SC2034
	shared="usr $shared_dirs"
}

# The same over a stack: a whole root file system, which is only read. What is made here lies over it, or in it if it
# is the root file system itself.
lay_out_over() { # STACK USER DIRECTORIES PASSWD-LINES
	[ -d "$1/usr" ] || fail "there is no stack at $1"
	umask 022
	users=$(others "$1/etc/passwd") groups=$(others "$1/etc/group")
	cd "$rootfs"
	# What a stack may have there may be a link out of it.
	[ "$1" != "$rootfs" ] || rm -rf etc/ssh etc/passwd etc/group etc/nsswitch.conf etc/profile etc/hostname etc/hosts \
		etc/resolv.conf
	# shellcheck disable=SC2086
	mkdir -p dev proc sys run/lock tmp root home app opt/openruko etc/profile.d var/empty var/tmp $3
	write_etc "$2" "$4" "${users:+$users$newline}" "${groups:+$groups$newline}"
}

# The entries of a passwd or group file that have neither a name nor an id that is ours. A link in an image would lead
# to the host's files.
others() { # FILE
	[ -f "$1" ] && [ ! -L "$1" ] && [ ! -L "${1%/*}" ] || return 0
	while IFS= read -r line || [ -n "$line" ]; do
		id=${line#*:*:}
		case ${line%%:*}:${id%%:*} in
		root:* | sshd:* | tty:* | build:* | dyno:* | nobody:* | nogroup:* | *:0 | *:5 | *:101 | *:1000 | *:65534) ;;
		*) printf '%s\n' "$line" ;;
		esac
	done <"$1"
}

# What every container has, in the working directory, with further entries of the stack's.
write_etc() { # USER PASSWD-LINES STACK-PASSWD-LINES STACK-GROUP-LINES
	chmod 1777 tmp var/tmp run/lock
	chmod 700 root

	printf '%s' "root:*:0:0:root:/root:/bin/sh
${2}$1:*:1000:1000::/app:/bin/sh
nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
$3" >etc/passwd
	printf '%s' "root:*:0:
tty:*:5:
$1:*:1000:
nogroup:*:65534:
$4" >etc/group
	printf '%s' 'passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
rpc: files
' >etc/nsswitch.conf
	# shellcheck disable=SC2016
	printf '%s' 'PATH=/usr/local/bin:/usr/bin:/bin
export PATH
for file in /etc/profile.d/*.sh; do
	[ ! -r "$file" ] || . "$file"
done
unset file
' >etc/profile
	printf '%s\n' "$name" >etc/hostname
	printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost\n' "$name" >etc/hosts
	[ ! -r "$resolv_conf" ] || copy "$resolv_conf" etc/resolv.conf
}

# Control groups are shown read-only, so that run-times size themselves by the limits and not by the host
# (forced, since LXC leaves that to init systems otherwise). Shared memory counts as memory of the
# container; 64 MB is what other engines give.
write_config() { # INIT PSEUDO-TERMINALS
	printf '%s' "
# Appended by $program.
lxc.uts.name = $name
lxc.init.cmd = $1
lxc.signal.halt = SIGTERM
lxc.autodev = 1
lxc.pty.max = $2
lxc.tty.max = 0
lxc.mount.auto = proc:mixed sys:ro cgroup:ro:force
${mounts}lxc.mount.entry = tmpfs dev/shm tmpfs rw,nosuid,nodev,size=64m,mode=1777,create=dir 0 0
" >>"$path/config"
}
