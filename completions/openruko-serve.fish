# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_openruko_serve_global_optspecs
    string join \n config= check advertise stateless-rpc key= h/help V/version
end

function __fish_openruko_serve_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_openruko_serve_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_openruko_serve_using_subcommand
    set -l cmd (__fish_openruko_serve_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -l key -d 'The id of the key that sshd has checked, for the greeting' -r
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -l check -d 'Read the configuration and act on nothing'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -l advertise -d 'Only say what the service offers: the answer to git\'s `info/refs`'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -l stateless-rpc -d 'Answer one request of git over HTTP, read from stdin'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -s V -l version -d 'Print version'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "keys" -d 'Print the authorized_keys line of a key, for AuthorizedKeysCommand; or keep all keys in a file'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "builds" -d 'Take up the builds of tarballs that users ask the Platform API for, as a service'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "build" -d 'Carry out the build on stdin'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "connect" -d 'Connect to a container\'s sshd, for ssh\'s ProxyCommand'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "finish" -d 'Finish a push whose client was answered'
complete -c openruko-serve -n "__fish_openruko_serve_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand keys" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand keys" -l all -d 'Keep every key in a marked section of an authorized_keys file, for an sshd that cannot ask. Lines outside of the section stay as they are'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand keys" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand builds" -l at-a-time -d 'So many at a time' -r
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand builds" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand builds" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand build" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand build" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand connect" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand connect" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand finish" -l config -d 'The configuration file' -r -F
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand finish" -s h -l help -d 'Print help'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "keys" -d 'Print the authorized_keys line of a key, for AuthorizedKeysCommand; or keep all keys in a file'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "builds" -d 'Take up the builds of tarballs that users ask the Platform API for, as a service'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "build" -d 'Carry out the build on stdin'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "connect" -d 'Connect to a container\'s sshd, for ssh\'s ProxyCommand'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "finish" -d 'Finish a push whose client was answered'
complete -c openruko-serve -n "__fish_openruko_serve_using_subcommand help; and not __fish_seen_subcommand_from keys builds build connect finish help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
