# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vmctl_global_optspecs
    string join \n endpoint= ca-file= connect-timeout= http-timeout= trace o/output= q/quiet v/verbose color= progress= no-input config-dir= h/help V/version
end

function __fish_vmctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vmctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vmctl_using_subcommand
    set -l cmd (__fish_vmctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vmctl -n "__fish_vmctl_needs_command" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_needs_command" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_needs_command" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_needs_command" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_needs_command" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_needs_command" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_needs_command" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_needs_command" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_needs_command" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_needs_command" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_needs_command" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_needs_command" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_needs_command" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "login" -d 'Log in and keep the token'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "logout" -d 'Revoke the token and forget it'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "whoami" -d 'Show who is logged in, where, and until when'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "vm" -d 'Create, show and delete virtual machines'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "job" -d 'Submit, follow, list, cancel and retry jobs'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "profile" -d 'Sizes of machines'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "region" -d 'Places for machines'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "kind" -d 'Kinds of jobs'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "quota" -d 'Show what the project may use, and what it uses'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "admin" -d 'For those who run the service; needs the role admin'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "completion" -d 'Print the completion script of a shell'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "version" -d 'Print the version'
complete -c vmctl -n "__fish_vmctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l username -d 'User name [default: the one of the last login; asked for on a terminal]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l project -d 'Project [default: the user\'s own]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l user-domain -d 'Domain of the user' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l project-domain -d 'Domain of the project [default: that of the user]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l store -d 'Where the token is kept' -r -f -a "auto\t'In the store of the last login, else in the keyring; in a file if you agree'
keyring\t'In the system\'s keyring'
file\t'In a file that only you can read'
none\t'Nowhere: only check that the login works'"
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l password-stdin -d 'Read the password from stdin'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand login" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand logout" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand whoami" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -f -a "create" -d 'Ask for a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -f -a "list" -d 'List the machines that exist, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -f -a "show" -d 'Show a machine that exists, or the job that makes or deletes one'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -f -a "delete" -d 'Ask to delete a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and not __fish_seen_subcommand_from create list show delete help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l profile -d 'Size of the machine, see `vmctl profile list` [default: the smallest]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l region -d 'Place of the machine, see `vmctl region list` [default: the first]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l hostname -d 'Host name; it must contain lx [default: lx and 8 random characters]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l env -d 'Environment: DEV, HML or PRD [default: DEV]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l trigram -d 'Application trigram [default: vmc]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l desc -d 'Description [default: empty]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l callback-url -d 'Call this address when the job has ended; https and public unless the operator says otherwise' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l callback-secret -d 'Name of the secret that signs the call [default: default]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l run-at -d 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l start-by -d 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l deadline -d 'End the job then at the latest: as --start-by [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l attempt-timeout -d 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l max-attempts -d 'Fail the job after so many attempts [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l unique -d 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l on-conflict -d 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]' -r -f -a "reject\t'Refuse'
return\t'Return that job'
queue\t'Run after it'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l timeout -d 'With --wait: leave after this long with exit code 8 [default: none]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l idempotency-key -d 'Key under which a repeated command asks for the same job [default: a new one]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l callback-full -d 'Send output and error with the call'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l wait -d 'Follow the job until it ends; the exit code is its outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from create" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l limit -d 'At most so many' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l all -d 'All of them'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l callback-url -d 'Call this address when the job has ended; https and public unless the operator says otherwise' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l callback-secret -d 'Name of the secret that signs the call [default: default]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l run-at -d 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l start-by -d 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l deadline -d 'End the job then at the latest: as --start-by [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l attempt-timeout -d 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l max-attempts -d 'Fail the job after so many attempts [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l unique -d 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l on-conflict -d 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]' -r -f -a "reject\t'Refuse'
return\t'Return that job'
queue\t'Run after it'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l timeout -d 'With --wait: leave after this long with exit code 8 [default: none]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l idempotency-key -d 'Key under which a repeated command asks for the same job [default: a new one]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l callback-full -d 'Send output and error with the call'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l wait -d 'Follow the job until it ends; the exit code is its outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from delete" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from help" -f -a "create" -d 'Ask for a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the machines that exist, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show a machine that exists, or the job that makes or deletes one'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from help" -f -a "delete" -d 'Ask to delete a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand vm; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "submit" -d 'Ask for a job of any kind'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "list" -d 'List the project\'s jobs, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "show" -d 'Show one job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "watch" -d 'Follow jobs live; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "wait" -d 'Wait silently for jobs; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "cancel" -d 'Ask to cancel jobs'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "retry" -d 'Run jobs again that have failed or were cancelled'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "events" -d 'Show the history of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "logs" -d 'Show or follow the log of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "callbacks" -d 'Show how the callbacks of a job went'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "redeliver" -d 'Deliver a callback of a job again'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "children" -d 'List the jobs that a job has asked for, such as the steps of a flow'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and not __fish_seen_subcommand_from submit list show watch wait cancel retry events logs callbacks redeliver children help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l input -d 'The input: JSON, or @FILE, or - for standard input [default: {}]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l label -d 'A pair to find the job by, KEY=VALUE; may be repeated' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l callback-url -d 'Call this address when the job has ended; https and public unless the operator says otherwise' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l callback-secret -d 'Name of the secret that signs the call [default: default]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l run-at -d 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l start-by -d 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l deadline -d 'End the job then at the latest: as --start-by [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l attempt-timeout -d 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l max-attempts -d 'Fail the job after so many attempts [default: the kind\'s]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l unique -d 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l on-conflict -d 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]' -r -f -a "reject\t'Refuse'
return\t'Return that job'
queue\t'Run after it'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l timeout -d 'With --wait: leave after this long with exit code 8 [default: none]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l idempotency-key -d 'Key under which a repeated command asks for the same job [default: a new one]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l callback-full -d 'Send output and error with the call'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l wait -d 'Follow the job until it ends; the exit code is its outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from submit" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l search -d 'Only jobs with these words, such as a host name or the text of an error: all words, or a|b, "a phrase", begin*' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l state -d 'Only jobs in these states: queued, running, waiting, retrying, succeeded, failed, cancelled' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l kind -d 'Only jobs of this kind: vm.create' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l parent -d 'Only jobs that this job has asked for: its id, the beginning of its id, or @last' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l root -d 'Only this job and those that were asked for below it' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l created-after -d 'Only jobs submitted later than this: a duration ago such as 2h, or an instant such as 2026-11-24T06:00:00Z' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l created-before -d 'Only jobs submitted earlier than this: as --created-after' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l limit -d 'At most so many' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l oldest-first -d 'Oldest first [default: newest first]'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l all -d 'All of them'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l timeout -d 'Leave after this long with exit code 8; the jobs keep running [default: none]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from watch" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l timeout -d 'Leave after this long with exit code 8; the jobs keep running' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from wait" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l reason -d 'Why, for the history' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from cancel" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from retry" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from events" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l tail -d 'Show only so many of the newest lines; the server keeps 200' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s f -l follow -d 'Go on until the job has ended'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from logs" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from callbacks" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l callback -d 'The callback, see `vmctl job callbacks` [default: the newest]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from redeliver" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from children" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "submit" -d 'Ask for a job of any kind'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the project\'s jobs, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "watch" -d 'Follow jobs live; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "wait" -d 'Wait silently for jobs; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "cancel" -d 'Ask to cancel jobs'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Run jobs again that have failed or were cancelled'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "events" -d 'Show the history of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "logs" -d 'Show or follow the log of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "callbacks" -d 'Show how the callbacks of a job went'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "redeliver" -d 'Deliver a callback of a job again'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "children" -d 'List the jobs that a job has asked for, such as the steps of a flow'
complete -c vmctl -n "__fish_vmctl_using_subcommand job; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -f -a "list" -d 'List the profiles, smallest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and not __fish_seen_subcommand_from list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the profiles, smallest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -f -a "list" -d 'List the regions, the default first'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and not __fish_seen_subcommand_from list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the regions, the default first'
complete -c vmctl -n "__fish_vmctl_using_subcommand region; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -f -a "list" -d 'List the kinds of jobs that may be asked for'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and not __fish_seen_subcommand_from list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the kinds of jobs that may be asked for'
complete -c vmctl -n "__fish_vmctl_using_subcommand kind; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand quota" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -f -a "queues" -d 'Show every queue of the broker'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -f -a "workers" -d 'Show which workers live and what they do'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -f -a "dead" -d 'Jobs that have failed for good'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and not __fish_seen_subcommand_from queues workers dead help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from queues" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l kind -d 'Only workers that serve this kind: vm.create' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l jobs -d 'Show the jobs that they have in hand'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from workers" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -f -a "list" -d 'List them, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -f -a "replay" -d 'Run them again, for the users that have asked for them'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from dead" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "queues" -d 'Show every queue of the broker'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "workers" -d 'Show which workers live and what they do'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "dead" -d 'Jobs that have failed for good'
complete -c vmctl -n "__fish_vmctl_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand completion" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l endpoint -d 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l ca-file -d 'File with certificates, PEM, to trust besides the system\'s, for the server and for Keystone [default: the one of the saved login]' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l connect-timeout -d 'Give up connecting after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l http-timeout -d 'Give up on one request after this long' -r
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -s o -l output -d 'How results are printed' -r -f -a "table\t'Columns for people'
json\t'One JSON document'"
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l color -d 'Use colour' -r -f -a "auto\t'On a terminal, unless the environment says otherwise'
always\t'Always'
never\t'Never'"
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l progress -d 'How progress is shown' -r -f -a "auto\t'A bar on a terminal, lines elsewhere'
bar\t'A bar, drawn in place'
plain\t'One line for each change'
none\t'Nothing'"
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l config-dir -d 'Configuration directory; only the environment sets it' -r -F
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l trace -d 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -s q -l quiet -d 'Print no progress and no hints'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -s v -l verbose -d 'Say on stderr what is asked of the server'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -l no-input -d 'Never ask anything'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmctl -n "__fish_vmctl_using_subcommand version" -s V -l version -d 'Print version'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "login" -d 'Log in and keep the token'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "logout" -d 'Revoke the token and forget it'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "whoami" -d 'Show who is logged in, where, and until when'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "vm" -d 'Create, show and delete virtual machines'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "job" -d 'Submit, follow, list, cancel and retry jobs'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "profile" -d 'Sizes of machines'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "region" -d 'Places for machines'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "kind" -d 'Kinds of jobs'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "quota" -d 'Show what the project may use, and what it uses'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "admin" -d 'For those who run the service; needs the role admin'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "completion" -d 'Print the completion script of a shell'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "version" -d 'Print the version'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and not __fish_seen_subcommand_from login logout whoami vm job profile region kind quota admin completion version help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from vm" -f -a "create" -d 'Ask for a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from vm" -f -a "list" -d 'List the machines that exist, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from vm" -f -a "show" -d 'Show a machine that exists, or the job that makes or deletes one'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from vm" -f -a "delete" -d 'Ask to delete a machine'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "submit" -d 'Ask for a job of any kind'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "list" -d 'List the project\'s jobs, newest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "show" -d 'Show one job'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "watch" -d 'Follow jobs live; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "wait" -d 'Wait silently for jobs; the exit code is their outcome'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "cancel" -d 'Ask to cancel jobs'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "retry" -d 'Run jobs again that have failed or were cancelled'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "events" -d 'Show the history of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "logs" -d 'Show or follow the log of a job'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "callbacks" -d 'Show how the callbacks of a job went'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "redeliver" -d 'Deliver a callback of a job again'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from job" -f -a "children" -d 'List the jobs that a job has asked for, such as the steps of a flow'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from profile" -f -a "list" -d 'List the profiles, smallest first'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from region" -f -a "list" -d 'List the regions, the default first'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from kind" -f -a "list" -d 'List the kinds of jobs that may be asked for'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "queues" -d 'Show every queue of the broker'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "workers" -d 'Show which workers live and what they do'
complete -c vmctl -n "__fish_vmctl_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "dead" -d 'Jobs that have failed for good'
