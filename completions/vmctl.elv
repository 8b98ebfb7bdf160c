
use builtin;
use str;

set edit:completion:arg-completer[vmctl] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'vmctl'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'vmctl'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand login 'Log in and keep the token'
            cand logout 'Revoke the token and forget it'
            cand whoami 'Show who is logged in, where, and until when'
            cand vm 'Create, show and delete virtual machines'
            cand job 'Submit, follow, list, cancel and retry jobs'
            cand profile 'Sizes of machines'
            cand region 'Places for machines'
            cand kind 'Kinds of jobs'
            cand quota 'Show what the project may use, and what it uses'
            cand admin 'For those who run the service; needs the role admin'
            cand completion 'Print the completion script of a shell'
            cand version 'Print the version'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;login'= {
            cand --username 'User name [default: the one of the last login; asked for on a terminal]'
            cand --project 'Project [default: the user''s own]'
            cand --user-domain 'Domain of the user'
            cand --project-domain 'Domain of the project [default: that of the user]'
            cand --store 'Where the token is kept'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --password-stdin 'Read the password from stdin'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;logout'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;whoami'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;vm'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand create 'Ask for a machine'
            cand list 'List the machines that exist, newest first'
            cand show 'Show a machine that exists, or the job that makes or deletes one'
            cand delete 'Ask to delete a machine'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;vm;create'= {
            cand --profile 'Size of the machine, see `vmctl profile list` [default: the smallest]'
            cand --region 'Place of the machine, see `vmctl region list` [default: the first]'
            cand --hostname 'Host name; it must contain lx [default: lx and 8 random characters]'
            cand --env 'Environment: DEV, HML or PRD [default: DEV]'
            cand --trigram 'Application trigram [default: vmc]'
            cand --desc 'Description [default: empty]'
            cand --callback-url 'Call this address when the job has ended; https and public unless the operator says otherwise'
            cand --callback-secret 'Name of the secret that signs the call [default: default]'
            cand --run-at 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]'
            cand --start-by 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]'
            cand --deadline 'End the job then at the latest: as --start-by [default: the kind''s]'
            cand --attempt-timeout 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]'
            cand --max-attempts 'Fail the job after so many attempts [default: the kind''s]'
            cand --unique 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters'
            cand --on-conflict 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]'
            cand --timeout 'With --wait: leave after this long with exit code 8 [default: none]'
            cand --idempotency-key 'Key under which a repeated command asks for the same job [default: a new one]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --callback-full 'Send output and error with the call'
            cand --wait 'Follow the job until it ends; the exit code is its outcome'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;vm;list'= {
            cand --limit 'At most so many'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --all 'All of them'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;vm;show'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;vm;delete'= {
            cand --callback-url 'Call this address when the job has ended; https and public unless the operator says otherwise'
            cand --callback-secret 'Name of the secret that signs the call [default: default]'
            cand --run-at 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]'
            cand --start-by 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]'
            cand --deadline 'End the job then at the latest: as --start-by [default: the kind''s]'
            cand --attempt-timeout 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]'
            cand --max-attempts 'Fail the job after so many attempts [default: the kind''s]'
            cand --unique 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters'
            cand --on-conflict 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]'
            cand --timeout 'With --wait: leave after this long with exit code 8 [default: none]'
            cand --idempotency-key 'Key under which a repeated command asks for the same job [default: a new one]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --callback-full 'Send output and error with the call'
            cand --wait 'Follow the job until it ends; the exit code is its outcome'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;vm;help'= {
            cand create 'Ask for a machine'
            cand list 'List the machines that exist, newest first'
            cand show 'Show a machine that exists, or the job that makes or deletes one'
            cand delete 'Ask to delete a machine'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;vm;help;create'= {
        }
        &'vmctl;vm;help;list'= {
        }
        &'vmctl;vm;help;show'= {
        }
        &'vmctl;vm;help;delete'= {
        }
        &'vmctl;vm;help;help'= {
        }
        &'vmctl;job'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand submit 'Ask for a job of any kind'
            cand list 'List the project''s jobs, newest first'
            cand show 'Show one job'
            cand watch 'Follow jobs live; the exit code is their outcome'
            cand wait 'Wait silently for jobs; the exit code is their outcome'
            cand cancel 'Ask to cancel jobs'
            cand retry 'Run jobs again that have failed or were cancelled'
            cand events 'Show the history of a job'
            cand logs 'Show or follow the log of a job'
            cand callbacks 'Show how the callbacks of a job went'
            cand redeliver 'Deliver a callback of a job again'
            cand children 'List the jobs that a job has asked for, such as the steps of a flow'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;job;submit'= {
            cand --input 'The input: JSON, or @FILE, or - for standard input [default: {}]'
            cand --label 'A pair to find the job by, KEY=VALUE; may be repeated'
            cand --callback-url 'Call this address when the job has ended; https and public unless the operator says otherwise'
            cand --callback-secret 'Name of the secret that signs the call [default: default]'
            cand --run-at 'Start the job then: a duration such as 2h, or an instant such as 2026-11-24T06:00:00Z; at most 7 days ahead [default: now]'
            cand --start-by 'Fail the job if no worker has started it by then: as --run-at, counted from there [default: the kind''s]'
            cand --deadline 'End the job then at the latest: as --start-by [default: the kind''s]'
            cand --attempt-timeout 'Stop an attempt that takes longer, and try again: whole seconds such as 90s, or 2h [default: the kind''s]'
            cand --max-attempts 'Fail the job after so many attempts [default: the kind''s]'
            cand --unique 'Name that one live job of the project may have at a time; vm create has vm:HOSTNAME, in small letters'
            cand --on-conflict 'What to do while another job has the name of --unique: refuse, return that job, or run after it [default: reject]'
            cand --timeout 'With --wait: leave after this long with exit code 8 [default: none]'
            cand --idempotency-key 'Key under which a repeated command asks for the same job [default: a new one]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --callback-full 'Send output and error with the call'
            cand --wait 'Follow the job until it ends; the exit code is its outcome'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;list'= {
            cand --search 'Only jobs with these words, such as a host name or the text of an error: all words, or a|b, "a phrase", begin*'
            cand --state 'Only jobs in these states: queued, running, waiting, retrying, succeeded, failed, cancelled'
            cand --kind 'Only jobs of this kind: vm.create'
            cand --parent 'Only jobs that this job has asked for: its id, the beginning of its id, or @last'
            cand --root 'Only this job and those that were asked for below it'
            cand --created-after 'Only jobs submitted later than this: a duration ago such as 2h, or an instant such as 2026-11-24T06:00:00Z'
            cand --created-before 'Only jobs submitted earlier than this: as --created-after'
            cand --limit 'At most so many'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --oldest-first 'Oldest first [default: newest first]'
            cand --all 'All of them'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;show'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;watch'= {
            cand --timeout 'Leave after this long with exit code 8; the jobs keep running [default: none]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;wait'= {
            cand --timeout 'Leave after this long with exit code 8; the jobs keep running'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;cancel'= {
            cand --reason 'Why, for the history'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;retry'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;events'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;logs'= {
            cand --tail 'Show only so many of the newest lines; the server keeps 200'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand -f 'Go on until the job has ended'
            cand --follow 'Go on until the job has ended'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;callbacks'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;redeliver'= {
            cand --callback 'The callback, see `vmctl job callbacks` [default: the newest]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;children'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;job;help'= {
            cand submit 'Ask for a job of any kind'
            cand list 'List the project''s jobs, newest first'
            cand show 'Show one job'
            cand watch 'Follow jobs live; the exit code is their outcome'
            cand wait 'Wait silently for jobs; the exit code is their outcome'
            cand cancel 'Ask to cancel jobs'
            cand retry 'Run jobs again that have failed or were cancelled'
            cand events 'Show the history of a job'
            cand logs 'Show or follow the log of a job'
            cand callbacks 'Show how the callbacks of a job went'
            cand redeliver 'Deliver a callback of a job again'
            cand children 'List the jobs that a job has asked for, such as the steps of a flow'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;job;help;submit'= {
        }
        &'vmctl;job;help;list'= {
        }
        &'vmctl;job;help;show'= {
        }
        &'vmctl;job;help;watch'= {
        }
        &'vmctl;job;help;wait'= {
        }
        &'vmctl;job;help;cancel'= {
        }
        &'vmctl;job;help;retry'= {
        }
        &'vmctl;job;help;events'= {
        }
        &'vmctl;job;help;logs'= {
        }
        &'vmctl;job;help;callbacks'= {
        }
        &'vmctl;job;help;redeliver'= {
        }
        &'vmctl;job;help;children'= {
        }
        &'vmctl;job;help;help'= {
        }
        &'vmctl;profile'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'List the profiles, smallest first'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;profile;list'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;profile;help'= {
            cand list 'List the profiles, smallest first'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;profile;help;list'= {
        }
        &'vmctl;profile;help;help'= {
        }
        &'vmctl;region'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'List the regions, the default first'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;region;list'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;region;help'= {
            cand list 'List the regions, the default first'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;region;help;list'= {
        }
        &'vmctl;region;help;help'= {
        }
        &'vmctl;kind'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'List the kinds of jobs that may be asked for'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;kind;list'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;kind;help'= {
            cand list 'List the kinds of jobs that may be asked for'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;kind;help;list'= {
        }
        &'vmctl;kind;help;help'= {
        }
        &'vmctl;quota'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;admin'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand queues 'Show every queue of the broker'
            cand workers 'Show which workers live and what they do'
            cand dead 'Jobs that have failed for good'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;admin;queues'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;admin;workers'= {
            cand --kind 'Only workers that serve this kind: vm.create'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --jobs 'Show the jobs that they have in hand'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;admin;dead'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'List them, newest first'
            cand replay 'Run them again, for the users that have asked for them'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;admin;dead;list'= {
            cand --kind 'Only jobs of this kind'
            cand --error 'Only jobs whose error is of this type: delivery-limit, malformed, ...'
            cand --project 'Only jobs of this project, by its id'
            cand --limit 'At most so many'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;admin;dead;replay'= {
            cand --kind 'Jobs of this kind'
            cand --error 'Jobs whose error is of this type: delivery-limit, malformed, ...'
            cand --project 'Jobs of this project, by its id'
            cand --limit 'At most so many [default: 100]'
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;admin;dead;help'= {
            cand list 'List them, newest first'
            cand replay 'Run them again, for the users that have asked for them'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;admin;dead;help;list'= {
        }
        &'vmctl;admin;dead;help;replay'= {
        }
        &'vmctl;admin;dead;help;help'= {
        }
        &'vmctl;admin;help'= {
            cand queues 'Show every queue of the broker'
            cand workers 'Show which workers live and what they do'
            cand dead 'Jobs that have failed for good'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;admin;help;queues'= {
        }
        &'vmctl;admin;help;workers'= {
        }
        &'vmctl;admin;help;dead'= {
            cand list 'List them, newest first'
            cand replay 'Run them again, for the users that have asked for them'
        }
        &'vmctl;admin;help;dead;list'= {
        }
        &'vmctl;admin;help;dead;replay'= {
        }
        &'vmctl;admin;help;help'= {
        }
        &'vmctl;completion'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;version'= {
            cand --endpoint 'Address of the server [default: the one of the saved login, else `http://127.0.0.1:8080`]'
            cand --ca-file 'File with certificates, PEM, to trust besides the system''s, for the server and for Keystone [default: the one of the saved login]'
            cand --connect-timeout 'Give up connecting after this long'
            cand --http-timeout 'Give up on one request after this long'
            cand -o 'How results are printed'
            cand --output 'How results are printed'
            cand --color 'Use colour'
            cand --progress 'How progress is shown'
            cand --config-dir 'Configuration directory; only the environment sets it'
            cand --trace 'Have the servers record a trace of this run, and print its id; `TRACEPARENT` names one to go on with'
            cand -q 'Print no progress and no hints'
            cand --quiet 'Print no progress and no hints'
            cand -v 'Say on stderr what is asked of the server'
            cand --verbose 'Say on stderr what is asked of the server'
            cand --no-input 'Never ask anything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'vmctl;help'= {
            cand login 'Log in and keep the token'
            cand logout 'Revoke the token and forget it'
            cand whoami 'Show who is logged in, where, and until when'
            cand vm 'Create, show and delete virtual machines'
            cand job 'Submit, follow, list, cancel and retry jobs'
            cand profile 'Sizes of machines'
            cand region 'Places for machines'
            cand kind 'Kinds of jobs'
            cand quota 'Show what the project may use, and what it uses'
            cand admin 'For those who run the service; needs the role admin'
            cand completion 'Print the completion script of a shell'
            cand version 'Print the version'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'vmctl;help;login'= {
        }
        &'vmctl;help;logout'= {
        }
        &'vmctl;help;whoami'= {
        }
        &'vmctl;help;vm'= {
            cand create 'Ask for a machine'
            cand list 'List the machines that exist, newest first'
            cand show 'Show a machine that exists, or the job that makes or deletes one'
            cand delete 'Ask to delete a machine'
        }
        &'vmctl;help;vm;create'= {
        }
        &'vmctl;help;vm;list'= {
        }
        &'vmctl;help;vm;show'= {
        }
        &'vmctl;help;vm;delete'= {
        }
        &'vmctl;help;job'= {
            cand submit 'Ask for a job of any kind'
            cand list 'List the project''s jobs, newest first'
            cand show 'Show one job'
            cand watch 'Follow jobs live; the exit code is their outcome'
            cand wait 'Wait silently for jobs; the exit code is their outcome'
            cand cancel 'Ask to cancel jobs'
            cand retry 'Run jobs again that have failed or were cancelled'
            cand events 'Show the history of a job'
            cand logs 'Show or follow the log of a job'
            cand callbacks 'Show how the callbacks of a job went'
            cand redeliver 'Deliver a callback of a job again'
            cand children 'List the jobs that a job has asked for, such as the steps of a flow'
        }
        &'vmctl;help;job;submit'= {
        }
        &'vmctl;help;job;list'= {
        }
        &'vmctl;help;job;show'= {
        }
        &'vmctl;help;job;watch'= {
        }
        &'vmctl;help;job;wait'= {
        }
        &'vmctl;help;job;cancel'= {
        }
        &'vmctl;help;job;retry'= {
        }
        &'vmctl;help;job;events'= {
        }
        &'vmctl;help;job;logs'= {
        }
        &'vmctl;help;job;callbacks'= {
        }
        &'vmctl;help;job;redeliver'= {
        }
        &'vmctl;help;job;children'= {
        }
        &'vmctl;help;profile'= {
            cand list 'List the profiles, smallest first'
        }
        &'vmctl;help;profile;list'= {
        }
        &'vmctl;help;region'= {
            cand list 'List the regions, the default first'
        }
        &'vmctl;help;region;list'= {
        }
        &'vmctl;help;kind'= {
            cand list 'List the kinds of jobs that may be asked for'
        }
        &'vmctl;help;kind;list'= {
        }
        &'vmctl;help;quota'= {
        }
        &'vmctl;help;admin'= {
            cand queues 'Show every queue of the broker'
            cand workers 'Show which workers live and what they do'
            cand dead 'Jobs that have failed for good'
        }
        &'vmctl;help;admin;queues'= {
        }
        &'vmctl;help;admin;workers'= {
        }
        &'vmctl;help;admin;dead'= {
            cand list 'List them, newest first'
            cand replay 'Run them again, for the users that have asked for them'
        }
        &'vmctl;help;admin;dead;list'= {
        }
        &'vmctl;help;admin;dead;replay'= {
        }
        &'vmctl;help;completion'= {
        }
        &'vmctl;help;version'= {
        }
        &'vmctl;help;help'= {
        }
    ]
    $completions[$command]
}
