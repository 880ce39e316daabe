# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_openruko_api_global_optspecs
    string join \n config= check h/help V/version
end

function __fish_openruko_api_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_openruko_api_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_openruko_api_using_subcommand
    set -l cmd (__fish_openruko_api_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c openruko-api -n "__fish_openruko_api_needs_command" -l config -d 'The configuration file [default: $OPENRUKO_CONFIG, else /etc/openruko/config.toml]' -r -F
complete -c openruko-api -n "__fish_openruko_api_needs_command" -l check -d 'Read and judge the configuration, then end without doing anything'
complete -c openruko-api -n "__fish_openruko_api_needs_command" -s h -l help -d 'Print help'
complete -c openruko-api -n "__fish_openruko_api_needs_command" -s V -l version -d 'Print version'
complete -c openruko-api -n "__fish_openruko_api_needs_command" -f -a "copy-database" -d 'Copy a whole database into an empty one, from SQLite to PostgreSQL or back'
complete -c openruko-api -n "__fish_openruko_api_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c openruko-api -n "__fish_openruko_api_using_subcommand copy-database" -l from -d 'The database to copy: sqlite:///PATH or postgres://…' -r
complete -c openruko-api -n "__fish_openruko_api_using_subcommand copy-database" -l to -d 'The database to fill: sqlite:///PATH, which is made, or postgres://…' -r
complete -c openruko-api -n "__fish_openruko_api_using_subcommand copy-database" -l from-password-file -d 'The file with the password for --from' -r -F
complete -c openruko-api -n "__fish_openruko_api_using_subcommand copy-database" -l to-password-file -d 'The file with the password for --to' -r -F
complete -c openruko-api -n "__fish_openruko_api_using_subcommand copy-database" -s h -l help -d 'Print help'
complete -c openruko-api -n "__fish_openruko_api_using_subcommand help; and not __fish_seen_subcommand_from copy-database help" -f -a "copy-database" -d 'Copy a whole database into an empty one, from SQLite to PostgreSQL or back'
complete -c openruko-api -n "__fish_openruko_api_using_subcommand help; and not __fish_seen_subcommand_from copy-database help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
