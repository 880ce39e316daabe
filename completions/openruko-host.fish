# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_openruko_host_global_optspecs
    string join \n config= check h/help V/version
end

function __fish_openruko_host_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_openruko_host_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_openruko_host_using_subcommand
    set -l cmd (__fish_openruko_host_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c openruko-host -n "__fish_openruko_host_needs_command" -l config -d 'The configuration file' -r -F
complete -c openruko-host -n "__fish_openruko_host_needs_command" -l check -d 'Read and judge the configuration, then end without doing anything'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -s h -l help -d 'Print help'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -s V -l version -d 'Print version'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -f -a "dyno" -d 'Supervise the dyno of a directory below `state_dir`; the agent starts this'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -f -a "image" -d 'Make the image of a slug, whose tar.gz is read from stdin; the agent starts this'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -f -a "stop" -d 'Stop all dynos of this node and wait for their end'
complete -c openruko-host -n "__fish_openruko_host_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand dyno" -l config -d 'The configuration file' -r -F
complete -c openruko-host -n "__fish_openruko_host_using_subcommand dyno" -l handed-over -d 'The socket to listen on is stdin, and stdout holds the lock'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand dyno" -s h -l help -d 'Print help'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand image" -l config -d 'The configuration file' -r -F
complete -c openruko-host -n "__fish_openruko_host_using_subcommand image" -s h -l help -d 'Print help'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand stop" -l config -d 'The configuration file' -r -F
complete -c openruko-host -n "__fish_openruko_host_using_subcommand stop" -s h -l help -d 'Print help'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand help; and not __fish_seen_subcommand_from dyno image stop help" -f -a "dyno" -d 'Supervise the dyno of a directory below `state_dir`; the agent starts this'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand help; and not __fish_seen_subcommand_from dyno image stop help" -f -a "image" -d 'Make the image of a slug, whose tar.gz is read from stdin; the agent starts this'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand help; and not __fish_seen_subcommand_from dyno image stop help" -f -a "stop" -d 'Stop all dynos of this node and wait for their end'
complete -c openruko-host -n "__fish_openruko_host_using_subcommand help; and not __fish_seen_subcommand_from dyno image stop help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
