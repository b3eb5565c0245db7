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
    "For people who run a local store": ADVICE,
    "A store on a bucket has a page of its own": ADVICE,
    "| question | part |": ADVICE,
    "Any number of processes and threads": _STRESS + "nothing_acknowledged_is_lost_under_stress",
    "An acknowledged commit stays": _STRESS + "nothing_acknowledged_is_lost_under_stress",
    "The threads of a process may share": _LOCKS + "handles.py::test_one_of_several_handles_is_closed",
    "A `Store` that is open when the process forks": _LOCKS + "forks.py::test_a_prefork_server_loses_no_version",
    "The fork waits up to one second": _FORKS + "a_short_use_is_waited_for",
    "If a call takes longer, the parent goes on": _FORKS + "a_long_use_is_not_waited_for",
    '`StoreUnavailable`, "was in use when process 12': _FORKS + "a_long_use_is_not_waited_for",
    "Fork while no commit runs": ADVICE,
    "A server that forks in C": _LOCKS + "forks.py::test_a_store_that_is_opened_after_a_fork_in_c_is_right",
    "In the child, a store opened before the fork": _FORKS + "a_fork_that_python_does_not_see",
    "Your own `sqlite3` connections": _HERE + "connections_of_others_stay_open_over_a_fork",
    "Do not hold such a connection": ADVICE,
    "An exception of a signal handler": _LOCKS + "interrupted_calls.py::test_a_call_may_end_at_any_place",
    "The call leaves nothing behind": _LOCKS + "interrupted_calls.py::test_a_call_may_end_at_any_place",
    "After the exception, a commit may have landed": _LOCKS
    + "interrupted_calls.py::test_commits_under_a_timer_are_acknowledged_once",
    "Repeat the commit with the same": _LOCKS
    + "interrupted_calls.py::test_commits_under_a_timer_are_acknowledged_once",
    "A file being made by `init`": _BESIDE + "a_draft_that_was_left_is_removed_and_a_live_one_is_kept",
    "If a kill leaves such a file": _BESIDE + "the_draft_of_a_killed_maker_is_removed",
    "The knowledge base's file is written as": _CLI + "temporary.py::test_gc_removes_what_kills_left",
    "Keep the store on a local disk": ADVICE,
    "A network share without locks": "tests/cases/store/test_shares.py::test_a_share_is_named",
    "Use a store on a bucket for several machines": ADVICE,
    "Mount the **folder** of the store": ADVICE,
    "SQLite keeps the newest commits": _HERE + "a_file_that_is_copied_alone_is_older",
    "A file on another device than its folder": _BESIDE + "a_file_that_is_mounted_alone_is_refused",
    "A file mounted alone from the same": ADVICE,
    "A file with two names (a hard link)": _LOCKS + "two_names.py::test_a_hard_link_is_refused_by_both_names",
    "A symbolic link is followed": _LOCKS + "two_names.py::test_symbolic_links_are_the_same_store",
    "A reader that may not write the file": _PLACES + "a_log_that_appears_is_read",
    "If a killed writer left a log that only": _PLACES + "a_private_copy_is_gone_however_its_reader_ends",
    "The open copy has no name any more": _PLACES + "a_private_copy_is_gone_however_its_reader_ends",
    "If the reader is killed while making": (
        "tests/backends/test_folders.py::test_the_folder_of_a_killed_process_is_removed_by_the_next_that_makes_one"
    ),
    "Do not delete `kb.db-wal` or `kb.db-shm`": ADVICE,
    "The next commit reports a deleted log": _BESIDE + "a_removed_log_is_named",
    "Close the programs, the program with": _BESIDE + "a_removed_log_is_named",
    "A program that opens the store before then": _BESIDE + "a_removed_log_is_named_to_other_programs",
    "Do not cut `kb.db-wal` off": _BESIDE + "a_log_that_is_cut_off_is_named",
    "As long as a program has the store open, its next": _BESIDE + "a_log_that_is_cut_off_is_named",
    "Once all programs are closed, the two": _HERE + "a_log_that_was_cut_off_leaves_no_trace",
    "A project still warns if": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "The command copies the store as of": _BESIDE + "a_backup_beside_a_writer_is_whole",
    "The copy is one file without": _BESIDE + "a_backup_beside_a_writer_is_whole",
    "The copy is as private as the store": _BESIDE + "a_backup_replaces_nothing",
    "From Python call `kbstore.sync.backup.backup_store": _HERE + "the_names_from_python_exist",
    "A copy of `kb.db` alone by other tools": _HERE + "a_file_that_is_copied_alone_is_older",
    "`verify` calls such a copy whole": _HERE + "a_file_that_is_copied_alone_is_older",
    "A copy of the whole folder is sound": _RESTORED + "a_store_and_its_log_that_are_moved_together_open",
    "For a store on a bucket, `kbstore clone`": _CLI + "backup.py::test_what_is_not_a_file_is_cloned",
    "Do not copy or open `kb.db` inside": ADVICE,
    "Use `kbstore backup`, or copy in another": ADVICE,
    "Close every program that has the store open first": _CLI + "backup.py::test_an_open_store_is_not_replaced",
    "The backup is verified, copied": _CLI + "backup.py::test_a_damaged_backup_changes_nothing",
    "The replaced file is kept beside": _CLI + "lost.py::test_versions_that_an_older_backup_lacks_are_counted",
    "A backup without a common version": _CLI + "lost.py::test_a_backup_of_another_history_is_refused",
    "From Python call `kbstore.sync.backup.restore_backup": _HERE + "the_names_from_python_exist",
    "Do not move a backup over `kb.db`": ADVICE,
    "If a `kb.db-wal` of the old file": _RESTORED + "a_log_that_does_not_belong_is_never_written_over_a_backup",
    "The message shows the right step": _RESTORED + "the_one_right_step_gives_the_backup",
    "The log holds the last commits": _RESTORED + "the_one_right_step_gives_the_backup",
    "If the log truly continues the file": _RESTORED + "a_log_that_continues_the_backup_is_kept",
    "The same rules hold for a `kb.db-journal`": _BESIDE + "a_journal_of_another_file_is_refused",
    "After a restore the knowledge base's file": _CLI + "backup.py::test_a_backup_comes_back",
    "If the file was taken from a version": _CLI + "backup.py::test_an_older_store_is_seen_to_be_older",
    "There are two ways to go on": _CLI + "backup.py::test_an_older_store_is_seen_to_be_older",
    "`kbstore checkout HEAD --force` writes": _CLI + "older.py::test_the_older_store_is_taken_as_it_is",
    "`kbstore commit --base REV` commits": _CLI + "older.py::test_the_older_store_is_taken_as_it_is",
    "If the backup has a version with": "tests/cases/workcopy/test_lost.py::test_another_base_is_named",
    "kbstore also notices a store": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "Commands that read warn": _CLI + "older.py::test_reads_warn_and_writes_are_refused",
    "If the whole folder `.kbstore` is gone": _CLI + "lost.py::test_the_folder_was_lost",
    "If `kb.json` is lost as well": _CLI + "lost.py::test_the_folder_was_lost",
    "If the file is there and newer": _CLI + "lost.py::test_an_older_copy_is_joined",
    "A clone, or a bucket that was pushed to": _CLI + "lost.py::test_the_folder_was_lost",
    "If only `kb.db` was deleted": _CLI + "lost.py::test_a_store_that_cannot_be_opened_is_replaced",
    "Without any copy, `kbstore init": _CLI + "lost.py::test_a_new_history_after_the_store_was_deleted",
    "If only `.kbstore/config.json` was lost": _CLI
    + "errors.py::test_a_folder_without_its_configuration_is_named_with_the_way_back",
    "The history, the version that the file": _CLI
    + "errors.py::test_a_folder_without_its_configuration_is_named_with_the_way_back",
    "If two people each committed": _CLI + "remote.py::test_histories_that_parted_are_a_conflict",
    "The refusal names the last common": _CLI + "remote.py::test_histories_that_parted_are_a_conflict",
    "If yours is a local store, put": _HERE + "stores_that_diverged_as_shown",
    "`--base` names that last common version": _HERE + "stores_that_diverged_as_shown",
    "So the commit has all changes": _CLI + "remote.py::test_stores_that_diverged_come_together_as_the_hint_says",
    "If both changed the same": _COPY + "the_same_place_is_a_conflict_and_leaves_the_file",
    "Your store with its versions and messages": _HERE + "stores_that_diverged_as_shown",
    "Tags, branches and settings that only": ADVICE,
    "To avoid a divergence": ADVICE,
    "`kb.db` is an ordinary SQLite database": _TRUTH + "headers_are_read_by_any_tool",
    "Any tool may read the file while kbstore": _BESIDE + "the_files_own_log_is_taken_in",
    "Only `PRAGMA user_version` and": _BESIDE + "a_log_that_another_program_began_is_taken_in",
    "If a tool sets one of the two": _BESIDE + "a_foreign_log_that_another_program_began_is_refused",
    "As long as the change is in the log": _BESIDE + "a_foreign_log_that_another_program_began_is_refused",
    "Triggers keep other tools": _TRUTH + "no_statement_changes_truth",
    "The tables are in [format.md]": ADVICE,
    "A process with two copies of the SQLite": ADVICE,
}
