# shellcheck shell=bash
# What bash runs in a dyno: the scripts of buildpacks, in the order of their names, then that of the app, all of them
# in this shell, since that is how they set variables. Then the command, in this process, so that signals reach it.
__openruko_command=$1
shift
for __openruko_file in /app/.profile.d/*.sh /app/.profile; do
	if [ -f "$__openruko_file" ] && [ -r "$__openruko_file" ]; then
		# shellcheck disable=SC1090
		. "$__openruko_file"
	fi
done
exec /bin/bash --norc --noprofile -c "$__openruko_command"
