# What makes a container one for builds: who may log in, and what it is shown of openruko. Sourced by templates, after
# common.sh; POSIX sh.
# shellcheck shell=sh
# shellcheck source=lxc-templates/common.sh
: "${newline?}" "${shared?}"

# Part of what the templates say about themselves.
# shellcheck disable=SC2034
build_options='  --authorized-key=FILE   the public key that may log in as user build
  --host-key=FILE         the private ed25519 key of its sshd; without it one is made
  --hooks=DIR             git'\''s hooks, read-only at /app/tmp/repo.git/hooks
  --buildpacks=DIR        buildpacks, read-only at /app/buildpacks
  --tools=DIR             programs, read-only at /opt/openruko
  --file=TARGET=SOURCE    SOURCE of the host, read-only at TARGET; may be given several times
'
authorized_key='' host_key='' hooks='' buildpacks='' tools='' files=''

take_build_option() { # OPTION VALUE
	case $1 in
	--authorized-key) authorized_key=$2 ;;
	--host-key) host_key=$2 ;;
	--hooks) hooks=$2 ;;
	--buildpacks) buildpacks=$2 ;;
	--tools) tools=$2 ;;
	--file) files=$files$2$newline ;;
	*) return 1 ;;
	esac
}

# Of every build container.
# shellcheck disable=SC2034
build_dirs='run/sshd etc/ssh app/tmp/repo.git/hooks app/tmp/cache app/tmp/ssh app/buildpacks'
# shellcheck disable=SC2034
build_users="sshd:*:101:65534::/run/sshd:/usr/sbin/nologin$newline"

# In the root file system, after it is laid out.
make_build() {
	chown 1000:1000 app app/tmp app/tmp/repo.git app/tmp/cache app/tmp/ssh

	if [ -n "$authorized_key" ]; then
		copy "$authorized_key" etc/ssh/authorized_keys
	else
		: >etc/ssh/authorized_keys
	fi
	umask 077
	if [ -n "$host_key" ]; then
		copy "$host_key" etc/ssh/host_key
	else
		ssh-keygen -q -t ed25519 -N '' -C '' -f etc/ssh/host_key
	fi
	umask 022

	# One key exchange, one host key and two ciphers that every processor does quickly. No terminal and no
	# forwarding but that of a socket towards the container, which is the host channel: it is a unix socket, but
	# sshd refuses those too unless AllowTcpForwarding allows the same direction.
	printf '%s' 'AddressFamily inet
HostKey /etc/ssh/host_key
HostKeyAlgorithms ssh-ed25519
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org
Ciphers aes128-gcm@openssh.com,chacha20-poly1305@openssh.com
MACs hmac-sha2-256-etm@openssh.com
Compression no
AllowUsers build
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
PermitRootLogin no
AuthorizedKeysFile /etc/ssh/authorized_keys
AcceptEnv GIT_PROTOCOL
AllowAgentForwarding no
AllowTcpForwarding remote
AllowStreamLocalForwarding remote
StreamLocalBindUnlink yes
GatewayPorts no
PermitTunnel no
PermitTTY no
PermitUserEnvironment no
PermitUserRC no
X11Forwarding no
PrintMotd no
PrintLastLog no
UsePAM no
UseDNS no
LogLevel INFO
LoginGraceTime 10
MaxStartups 20
MaxSessions 10
ClientAliveInterval 15
ClientAliveCountMax 4
PidFile none
Subsystem sftp /usr/lib/openssh/sftp-server
' >etc/ssh/sshd_config

	[ -z "$hooks" ] || bind "$hooks" app/tmp/repo.git/hooks
	[ -z "$buildpacks" ] || bind "$buildpacks" app/buildpacks
	[ -z "$tools" ] || bind "$tools" opt/openruko
	IFS=" $newline"
	for file in $files; do
		target=${file%%=*} source=${file#*=}
		case $target:$source in /?*:/?*) ;; *) fail "--file needs two absolute paths: $file" ;; esac
		case /$target/$source/ in */../*) fail "--file with \`..': $file" ;; esac
		for dir in $shared; do
			case $target in "/$dir/"*)
				[ -e "$target" ] || fail "--file $target: /$dir is shared read-only, and the host has no such file"
				;;
			esac
		done
		create=create=file
		[ ! -d "$source" ] || create=create=dir
		bind "$source" "$target" "$create"
	done
	unset IFS

	write_config '/usr/sbin/sshd -D -e' 0
}
