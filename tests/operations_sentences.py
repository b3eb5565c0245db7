"""Names the test that proves each sentence of `docs/operations.md`, by how the sentence begins.

A sentence that only advises, or says where something is, promises nothing that a test could show. It is listed too, so
that a new sentence cannot pass for one.
"""

_BESIDE = "tests/backends/test_sqlite_beside.py::test_"
_COPY = "tests/worktree/test_working_copy.py::test_"
_CLI = "tests/cli/test_"
_FORKS = "tests/store/test_forks.py::test_"
_HERE = "tests/test_operations.py::test_"
_LOCKS = "tests/cases/locks/test_"
_PLACES = "tests/backends/test_places.py::test_"
_RESTORED = "tests/cases/locks/test_restored_backup.py::test_"
_STRESS = "tests/store/test_stress.py::test_"
_TRUTH = "tests/backends/test_sqlite_truth.py::test_"

ADVICE = ""

PROOFS = {
    "How a local store (one SQLite file": ADVICE,
    "A store on a bucket has a page of its own": ADVICE,
    "Any number of processes and threads": _STRESS + "nothing_acknowledged_is_lost_under_stress",
    "A commit that was acknowledged stays": _STRESS + "nothing_acknowledged_is_lost_under_stress",
    "One `Store` may be shared by the threads": _LOCKS + "handles.py::test_one_of_several_handles_is_closed",
    "A `Store` that is open when the process forks": _LOCKS + "forks.py::test_a_prefork_server_loses_no_version",
    "The fork waits up to one second": _FORKS + "a_short_use_is_waited_for",
    "If a call takes longer, the parent goes on": _FORKS + "a_long_use_is_not_waited_for",
    '`StoreUnavailable`, "was in use when process 12': _FORKS + "a_long_use_is_not_waited_for",
    "Fork while no commit runs": ADVICE,
    "A file that is being made (by `init`": _BESIDE + "a_draft_that_was_left_is_removed_and_a_live_one_is_kept",
    "If its maker is killed": _BESIDE + "the_draft_of_a_killed_maker_is_removed",
    "The same holds for `.kb.json.12.0.tmp`": _CLI + "temporary.py::test_gc_removes_what_kills_left",
    "A server that forks in C": _LOCKS + "forks.py::test_a_store_that_is_opened_after_a_fork_in_c_is_right",
    "A store that was opened before is refused": _FORKS + "a_fork_that_python_does_not_see",
    "Your own `sqlite3` connections": _HERE + "connections_of_others_stay_open_over_a_fork",
    "Do not hold one over a fork": ADVICE,
    "A call that ends with an exception": _LOCKS + "interrupted_calls.py::test_a_call_may_end_at_any_place",
    "Whether the commit had landed already": (
        _LOCKS + "interrupted_calls.py::test_commits_under_a_timer_are_acknowledged_once"
    ),
    "Keep the store on a local disk": ADVICE,
    "A network share without locks": "tests/cases/store/test_shares.py::test_a_share_is_named",
    "A share whose locks lie": ADVICE,
    "Use a store on a bucket for several machines": ADVICE,
    "Mount the **folder** of the store": ADVICE,
    "SQLite keeps the newest commits": _HERE + "a_file_that_is_copied_alone_is_older",
    "Nobody can write a file that is on another device": _BESIDE + "a_file_that_is_mounted_alone_is_refused",
    "A file of the same device cannot be recognised": ADVICE,
    "A file with two names (a hard link)": _LOCKS + "two_names.py::test_a_hard_link_is_refused_by_both_names",
    "A symbolic link is followed": _LOCKS + "two_names.py::test_symbolic_links_are_the_same_store",
    "A reader that may not write the file": _PLACES + "a_log_that_appears_is_read",
    "If a killed writer left a log that only": _PLACES + "a_private_copy_is_gone_however_its_reader_ends",
    "If the reader is killed while it makes the copy": (
        "tests/backends/test_folders.py::test_the_folder_of_a_killed_process_is_removed_by_the_next_that_makes_one"
    ),
    "Do not delete `kb.db-wal` or `kb.db-shm`": ADVICE,
    "The next commit says so and writes nothing": _BESIDE + "a_removed_log_is_named",
    "Whoever opens the store before that": _BESIDE + "a_removed_log_is_named_to_other_programs",
    "Nor cut `kb.db-wal` off": _BESIDE + "a_log_that_is_cut_off_is_named",
    "As long as a program has the store open, its next": _BESIDE + "a_log_that_is_cut_off_is_named",
    "Once all programs are closed nothing": _HERE + "a_log_that_was_cut_off_leaves_no_trace",
    "A project still warns, since": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "This copies the store as it is at one moment": _BESIDE + "a_backup_beside_a_writer_is_whole",
    "The copy is one file that needs nothing": _BESIDE + "a_backup_beside_a_writer_is_whole",
    "It is as private as the store": _BESIDE + "a_backup_replaces_nothing",
    "From Python it is `kbstore.sync.backup.backup_store": _HERE + "the_names_from_python_exist",
    "`kb.db` copied alone by other tools": _HERE + "a_file_that_is_copied_alone_is_older",
    "`verify` calls such a copy whole": _HERE + "a_file_that_is_copied_alone_is_older",
    "A copy of the whole folder is sound": _RESTORED + "a_store_and_its_log_that_are_moved_together_open",
    "For a store on a bucket, `kbstore clone`": _CLI + "backup.py::test_what_is_not_a_file_is_cloned",
    "Close every program that has the store open first": _CLI + "backup.py::test_an_open_store_is_not_replaced",
    "The backup is verified, copied": _CLI + "backup.py::test_a_damaged_backup_changes_nothing",
    "The file that it replaces is kept": _CLI + "lost.py::test_versions_that_an_older_backup_lacks_are_counted",
    "A backup that has no version in common": _CLI + "lost.py::test_a_backup_of_another_history_is_refused",
    "From Python it is `kbstore.sync.backup.restore_backup": _HERE + "the_names_from_python_exist",
    "Do not move a backup over `kb.db`": ADVICE,
    "If a `kb.db-wal` of the old file": _RESTORED + "a_log_that_does_not_belong_is_never_written_over_a_backup",
    "The message says what to do": _RESTORED + "the_one_right_step_gives_the_backup",
    "It holds the last commits of the file": _RESTORED + "the_one_right_step_gives_the_backup",
    "If the log truly continues the file": _RESTORED + "a_log_that_continues_the_backup_is_kept",
    "The same goes for a `kb.db-journal`": _BESIDE + "a_journal_of_another_file_is_refused",
    "After a restore the knowledge base's file": _CLI + "backup.py::test_a_backup_comes_back",
    "If it was taken from a version": _CLI + "backup.py::test_an_older_store_is_seen_to_be_older",
    "If the backup has a version with": "tests/cases/workcopy/test_lost.py::test_another_base_is_named",
    "`kbstore checkout HEAD --force` writes": _CLI + "older.py::test_the_older_store_is_taken_as_it_is",
    "A store that was exchanged for an older copy": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "Commands that read warn": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "If `.kbstore` is gone as a whole": _CLI + "lost.py::test_the_folder_was_lost",
    "If `kb.json` is lost as well": _CLI + "lost.py::test_the_folder_was_lost",
    "If it is there and newer than the backup": _CLI + "lost.py::test_an_older_copy_is_joined",
    "If there is a clone or a bucket": _CLI + "lost.py::test_the_folder_was_lost",
    "`kbstore clone LOCATION .kbstore/kb.db`": _CLI + "lost.py::test_the_folder_was_lost",
    "If only `kb.db` was deleted": _CLI + "lost.py::test_a_store_that_cannot_be_opened_is_replaced",
    "Without any copy of it": _CLI + "lost.py::test_a_new_history_after_the_store_was_deleted",
    "If only `.kbstore/config.json` was lost": (
        _CLI + "errors.py::test_a_folder_without_its_configuration_is_named_with_the_way_back"
    ),
    "The history, the version that the file": (
        _CLI + "errors.py::test_a_folder_without_its_configuration_is_named_with_the_way_back"
    ),
    "If two people committed to two stores": _CLI + "remote.py::test_histories_that_parted_are_a_conflict",
    "The refusal names the last version": _CLI + "remote.py::test_histories_that_parted_are_a_conflict",
    "If yours is a local store, put": _HERE + "stores_that_diverged_as_shown",
    "`--base` names that last common version": _HERE + "stores_that_diverged_as_shown",
    "So the commit is all that the file": (
        _CLI + "remote.py::test_stores_that_diverged_come_together_as_the_hint_says"
    ),
    "If both changed the same": _COPY + "the_same_place_is_a_conflict_and_leaves_the_file",
    "Your store with its versions and messages": _HERE + "stores_that_diverged_as_shown",
    "Tags, branches and settings that only": ADVICE,
    "To avoid all this": ADVICE,
    "`kb.db` is an ordinary SQLite database": _TRUTH + "headers_are_read_by_any_tool",
    "Any tool may read it while kbstore uses it": _BESIDE + "the_files_own_log_is_taken_in",
    "Only `PRAGMA user_version` and": _BESIDE + "a_log_that_another_program_began_is_taken_in",
    "If a tool sets one all the same": _BESIDE + "a_foreign_log_that_another_program_began_is_refused",
    "Triggers keep other tools": _TRUTH + "no_statement_changes_truth",
    "The tables are in [format.md]": ADVICE,
    "A process with two copies of the SQLite": ADVICE,
}
