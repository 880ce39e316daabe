# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ruko_container_global_optspecs
    string join \n config= check h/help V/version
end

function __fish_ruko_container_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ruko_container_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ruko_container_using_subcommand
    set -l cmd (__fish_ruko_container_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ruko-container -n "__fish_ruko_container_needs_command" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_needs_command" -l check -d 'Read the configuration, act on nothing'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -s V -l version -d 'Print version'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "run" -d 'Run one container: its specification is the first line of stdin, events are lines of stdout, and the end of stdin ends it'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "start" -d 'Run one container in the background, until `stop` or its time limit'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "list" -d 'Show the containers of this configuration'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "reap" -d 'Destroy what has no owner any more'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "exec" -d 'Run a command in a container as its user'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "stop" -d 'Stop a container; its owner destroys it'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "destroy" -d 'Stop a container and wait until nothing of it is left'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "setup" -d 'Prepare this machine: id ranges, bridge, packet filter'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "stack" -d 'Make, show and remove stack images: root file systems that builds and dynos have instead of this machine\'s /usr'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "teardown" -d 'Remove bridge and packet filter again'
complete -c ruko-container -n "__fish_ruko_container_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand run" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand run" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l client-key -d 'The file of the public key that may log in' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l template -d 'What lays it out [default: openruko-build; with --stack openruko-stack]' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l stack -d 'The stack image that it has, as `stack list` shows it [default: this machine\'s own /usr]' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l seconds -d 'How long it may last in seconds [default: `max.build_seconds` of [container]]' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -l json -d 'As the JSON document that `run` prints'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand start" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand list" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand list" -l json -d 'As one JSON document'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand list" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand reap" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand reap" -l json -d 'As one JSON document'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand reap" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand exec" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand exec" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stop" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stop" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand destroy" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand destroy" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand setup" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand setup" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -f -a "build" -d 'Make a stack, or make it anew, of Debian\'s packages'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -f -a "import" -d 'Make a stack, or make it anew, of a root file system that is there already'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -f -a "list" -d 'Show the stacks of this machine'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -f -a "remove" -d 'Remove a stack that no container has'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and not __fish_seen_subcommand_from build import list remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from build" -l suite -d 'The release of Debian' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from build" -l mirror -d 'Where its packages are [default: Debian\'s own servers, with security updates]' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from build" -l packages -d 'Packages, separated by commas, besides those that containers cannot do without (ca-certificates, git, openssh-server) [default: what buildpacks look for: build-essential, curl, gzip, jq, openssl, python3 with pip and venv, tar, unzip, xz-utils, zip]' -r
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from build" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from import" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from list" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from list" -l json -d 'As one JSON document'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from help" -f -a "build" -d 'Make a stack, or make it anew, of Debian\'s packages'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from help" -f -a "import" -d 'Make a stack, or make it anew, of a root file system that is there already'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the stacks of this machine'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a stack that no container has'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand stack; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand teardown" -l config -d 'The configuration file; only root may be able to write it' -r -F
complete -c ruko-container -n "__fish_ruko_container_using_subcommand teardown" -s h -l help -d 'Print help'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "run" -d 'Run one container: its specification is the first line of stdin, events are lines of stdout, and the end of stdin ends it'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "start" -d 'Run one container in the background, until `stop` or its time limit'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "list" -d 'Show the containers of this configuration'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "reap" -d 'Destroy what has no owner any more'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "exec" -d 'Run a command in a container as its user'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "stop" -d 'Stop a container; its owner destroys it'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "destroy" -d 'Stop a container and wait until nothing of it is left'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "setup" -d 'Prepare this machine: id ranges, bridge, packet filter'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "stack" -d 'Make, show and remove stack images: root file systems that builds and dynos have instead of this machine\'s /usr'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "teardown" -d 'Remove bridge and packet filter again'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and not __fish_seen_subcommand_from run start list reap exec stop destroy setup stack teardown help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and __fish_seen_subcommand_from stack" -f -a "build" -d 'Make a stack, or make it anew, of Debian\'s packages'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and __fish_seen_subcommand_from stack" -f -a "import" -d 'Make a stack, or make it anew, of a root file system that is there already'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and __fish_seen_subcommand_from stack" -f -a "list" -d 'Show the stacks of this machine'
complete -c ruko-container -n "__fish_ruko_container_using_subcommand help; and __fish_seen_subcommand_from stack" -f -a "remove" -d 'Remove a stack that no container has'
