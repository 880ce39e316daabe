# What makes a container a dyno: its process 1 and its app. Sourced by templates, after common.sh; POSIX sh.
# shellcheck shell=sh

# Part of what the templates say about themselves.
# shellcheck disable=SC2034
dyno_options='  --app=DIR               what the dyno sees at /app and may write; without it an empty directory
  --init=FILE             ruko-dyno, process 1 of the container
'
app='' init=''

take_dyno_option() { # OPTION VALUE
	case $1 in
	--app) app=$2 ;;
	--init) init=$2 ;;
	*) return 1 ;;
	esac
}

# In the root file system, after it is laid out.
make_dyno() {
	chown 1000:1000 app

	: >opt/openruko/ruko-dyno
	[ -z "$init" ] || bind "$init" opt/openruko/ruko-dyno
	[ -z "$app" ] || bind "$app" app '' rw
	write_config /opt/openruko/ruko-dyno 256
}
