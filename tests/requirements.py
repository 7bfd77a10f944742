"""Every row of the requirements: whether it works, what is missing, and the tests that would fail if it stopped working.

A row is done when a person can use all of it through a public door. ``python -m tests.requirements`` rewrites the list of
tests below from the marks ``@pytest.mark.req(...)``; states are written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["done", "partly", "not yet"]

ROWS: Final[dict[str, tuple[State, str]]] = {
    "D1": ("done", ""),
    "D2": ("done", ""),
    "D3": ("done", ""),
    "D4": ("done", ""),
    "D5": ("done", ""),
    "D6": ("done", ""),
    "X1": (
        "not yet",
        "parameters, context and streaming can be given; timeout, retry policy, priority, debug and dry run per execution cannot",
    ),
    "X2": (
        "not yet",
        "the state holds status, results, records and errors; artifacts, formatted output and metrics are missing",
    ),
    "X3": ("not yet", "status and resume work; pause and cancel from outside, resource usage and capabilities do not"),
    "X4": ("done", ""),
    "X5": ("done", ""),
    "X6": (
        "not yet",
        "text, structured output, tokens and usage work; fallback, costs, caching, rate limits, tools and warming do not",
    ),
    "X7": (
        "partly",
        "rendering works; history formatting, token counts, shortening and adaptation are missing",
    ),
    "X8": ("not yet", "single calls work; chains, discovery and integrated results do not"),
    "X9": ("not yet", "a thread keeps its messages; topics and memory are missing"),
    "X10": ("not yet", "sessions"),
    "X11": ("not yet", "response formats"),
    "X12": (
        "partly",
        "typed faults, retry and skip work; fallbacks, manual recovery and circuit breakers are missing",
    ),
    "X13": ("not yet", "settings exist for what works; limits, caching, history and retention are missing"),
    "X14": ("not yet", "not measured as a whole"),
    "T1": ("done", ""),
    "T2": ("done", ""),
    "T3": ("done", ""),
    "T4": (
        "partly",
        "retry with back-off, named classes, skip, another step, abort; compensation and fallback tools are missing",
    ),
    "T5": ("not yet", "pattern detection"),
    "T6": ("not yet", "the library of named tool workflows"),
    "T7": ("not yet", "workflows from descriptions"),
    "T8": ("not yet", "execution log and measures"),
    "E1": ("not yet", "the engine"),
    "E2": ("not yet", "the engine"),
    "E3": ("not yet", "agents beyond those in a spec"),
    "E4": ("not yet", "hand-offs"),
    "E5": ("partly", "input and output mapping, retry with back-off; the fallback agent is missing"),
    "E6": ("not yet", "metrics over time"),
    "E7": ("not yet", "error codes of the engine"),
    "E8": ("not yet", "records beyond checkpoints and kept specs"),
    "E9": ("not yet", "not measured"),
    "M1": ("not yet", "MCP"),
    "M2": ("not yet", "execution modes"),
    "M3": ("not yet", "generation"),
    "M4": ("not yet", "overrides per execution; settings come from file, environment and arguments"),
    "M5": ("not yet", "remote executors"),
    "M6": ("not yet", "roles"),
    "M7": ("not yet", "batches"),
    "M8": ("not yet", "deployment"),
    "M9": ("not yet", "security beyond checked specs and contained code"),
    "M10": ("not yet", "announced features"),
    "R1": ("not yet", "registered classes"),
    "R2": ("not yet", "execution by name with a summarising context"),
    "R3": ("not yet", "life cycle"),
    "R4": ("not yet", "injected resources beyond tools, models and prompts"),
    "R5": ("partly", "composition of workflows; history, limits, versions, schedules and triggers are missing"),
}

# -- written by python -m tests.requirements ----------------------------------------------------------------------
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "D1": ("test_house.py::test_the_libraries_of_the_design_are_installed_and_none_is_below_its_advisories",),
    "D2": ("test_house.py::test_the_top_level_is_the_one_of_the_design",),
    "D3": (
        "test_house.py::test_a_ready_workflow_compiles_to_a_state_graph_whose_nodes_are_its_steps",
        "test_house.py::test_the_ready_workflows_use_all_five_node_kinds",
    ),
    "D4": (
        "test_checkpoints.py::test_a_run_paused_in_one_process_is_resumed_in_another",
        "test_checkpoints.py::test_what_was_done_is_on_disk_whatever_durability_the_caller_asks_for",
        "test_cli.py::test_a_run_rests_in_one_process_and_is_resumed_in_another",
        "test_crash.py::test_a_run_killed_again_and_again_at_random_ends_as_if_it_had_not_been",
        "test_crash.py::test_a_run_killed_at_any_write_of_a_checkpoint_loses_and_repeats_nothing",
        "test_disk_full.py::test_a_full_disk_stops_the_run_and_loses_no_finished_step",
        "test_people.py::test_other_branches_go_on_while_a_person_is_asked",
        "test_people.py::test_the_answer_with_its_defaults_becomes_the_value",
        "test_server.py::test_a_fork_of_a_paused_run_asks_anew_with_the_changed_value_behind_it",
        "test_server.py::test_a_question_is_an_interrupt_with_its_form",
        "test_server.py::test_a_session_of_the_newer_protocol_streams_asks_and_goes_on",
        "test_server.py::test_a_wrong_answer_is_refused_with_the_reason_and_the_question_stays_open",
        "test_server.py::test_an_answer_by_interrupt_id_resumes_and_repeats_nothing",
        "test_server_catalog.py::test_incident_triage_runs_to_its_person_and_writes_the_report",
        "test_server_killed.py::test_a_killed_server_ends_its_runs_later_and_repeats_no_finished_step",
        "test_server_killed.py::test_a_stopped_server_goes_on_with_its_runs_when_it_is_started_again",
    ),
    "D5": (
        "test_catalog.py::test_a_workflow_of_the_catalog_has_no_problem_whether_python_is_allowed_or_not",
        "test_catalog.py::test_offline_each_result_holds_facts_of_its_own_input_alone",
        "test_cli_looking.py::test_the_five_modes_have_prompts_and_workflows",
        "test_gaps.py::test_a_step_asks_with_the_prompt_and_the_model_of_its_own_mode_else_of_the_workflows",
        "test_gaps.py::test_the_prompt_folders_and_the_models_of_the_settings_serve_their_modes",
        "test_models_names.py::test_a_mode_has_its_own_model_and_a_name_outranks_it",
        "test_modes.py::test_a_plan_with_a_circle_is_sent_back_with_the_fault_and_comes_out_in_order",
        "test_modes.py::test_a_refuted_citation_is_removed_and_the_answer_written_again_without_it",
        "test_modes.py::test_code_whose_tests_fail_is_repaired_and_passes",
        "test_modes.py::test_the_model_sees_the_source_around_the_error_and_files_that_are_gone_are_left_out",
        "test_offline.py::test_the_router_chooses_the_mode_that_a_request_needs",
        "test_prompts.py::test_a_mode_finds_its_own_prompt_before_the_shared_one",
        "test_prompts_golden.py::test_every_mode_has_a_prompt",
    ),
    "D6": (
        "test_examples.py::test_the_python_example_runs",
        "test_gaps.py::test_events_bring_each_token_with_the_path_of_its_step_unless_they_are_not_wanted",
        "test_gaps.py::test_streams_of_several_modes_and_of_the_newer_form_show_no_yields_either",
        "test_server.py::test_a_cancelled_run_keeps_what_was_done_and_can_go_on",
        "test_server.py::test_a_fork_of_a_paused_run_asks_anew_with_the_changed_value_behind_it",
        "test_server.py::test_a_fork_with_a_changed_value_runs_only_what_depends_on_it",
        "test_server.py::test_a_question_is_an_interrupt_with_its_form",
        "test_server.py::test_a_second_input_on_a_finished_thread_is_a_new_run",
        "test_server.py::test_a_session_of_the_newer_protocol_streams_asks_and_goes_on",
        "test_server.py::test_a_wrong_answer_is_refused_with_the_reason_and_the_question_stays_open",
        "test_server.py::test_an_answer_by_interrupt_id_resumes_and_repeats_nothing",
        "test_server.py::test_an_input_that_does_not_fit_is_refused_with_the_reason",
        "test_server.py::test_every_workflow_of_langgraph_json_is_an_assistant",
        "test_server.py::test_loops_run_under_the_server",
        "test_server.py::test_new_input_on_a_paused_run_is_refused_and_says_what_to_do",
        "test_server.py::test_nothing_blocked_the_servers_event_loop",
        "test_server.py::test_running_again_from_a_past_checkpoint_is_a_new_run_too",
        "test_server.py::test_several_modes_at_once_are_told_apart",
        "test_server.py::test_the_custom_stream_tells_what_happens_step_by_step",
        "test_server.py::test_the_drawing_of_a_loop_shows_its_body",
        "test_server.py::test_the_drawing_shows_the_steps_and_edges_of_the_spec",
        "test_server.py::test_the_events_stream_reaches_the_end",
        "test_server.py::test_the_history_shows_the_steps_as_they_ended",
        "test_server.py::test_the_input_schema_is_a_form_with_types_defaults_and_descriptions",
        "test_server.py::test_the_output_schema_names_what_a_run_gives",
        "test_server.py::test_the_tasks_stream_pairs_each_start_with_one_result",
        "test_server.py::test_the_tokens_of_a_model_are_streamed_from_its_step",
        "test_server.py::test_the_updates_stream_has_each_step_once_and_no_yields",
        "test_server.py::test_the_values_stream_ends_with_the_final_state",
        "test_server.py::test_wait_gives_the_state_that_the_run_ended_in",
        "test_server_catalog.py::test_a_catalog_workflow_is_served_with_a_form_and_its_steps",
        "test_server_catalog.py::test_incident_triage_runs_to_its_person_and_writes_the_report",
        "test_server_catalog.py::test_the_router_answers_a_question_over_documents",
        "test_server_killed.py::test_a_killed_server_ends_its_runs_later_and_repeats_no_finished_step",
        "test_server_killed.py::test_a_stopped_server_goes_on_with_its_runs_when_it_is_started_again",
        "test_state.py::test_sync_calls_give_what_the_async_ones_give",
        "test_state.py::test_updates_and_tasks_show_each_step_once_without_yields",
    ),
    "E5": (
        "test_dialects.py::test_agent_steps_load_as_written_by_hand",
        "test_dialects.py::test_the_raw_result_outside_of_an_output_mapping_is_that_of_the_step_before",
        "test_documents_run.py::test_agent_steps_run_with_their_mappings",
        "test_gaps.py::test_an_agent_step_without_a_mapping_is_given_what_the_steps_before_it_gave",
    ),
    "R5": (
        "test_gaps.py::test_a_workflow_uses_the_one_beside_it_by_path_and_ones_own_before_that_of_the_catalog",
        "test_loops.py::test_a_used_workflow_sees_its_own_names_and_input_only",
        "test_modes.py::test_a_person_is_asked_from_within_the_mode_that_the_router_chose",
    ),
    "T1": (
        "test_dialects.py::test_a_tool_template_loads_as_written_by_hand",
        "test_documents_run.py::test_a_tool_template_runs_with_its_retries_conditions_and_substitutions",
        "test_failure_policies.py::test_an_attempt_that_takes_too_long_is_cut_off_as_a_timeout",
        "test_gaps.py::test_the_policies_and_the_output_of_a_tool_template_are_carried_over",
    ),
    "T2": (
        "test_dialects.py::test_free_names_become_inputs_and_other_words_are_left_alone",
        "test_documents_run.py::test_a_tool_template_runs_with_its_retries_conditions_and_substitutions",
        "test_expression.py::test_an_expression_has_this_value",
        "test_expression.py::test_conditions_take_bare_whole_island_and_mixed_forms",
        "test_template.py::test_a_text_that_is_one_island_keeps_its_type",
        "test_template.py::test_a_value_renders_its_strings_but_not_its_keys",
        "test_template.py::test_every_documented_substitution_works",
        "test_template.py::test_mixed_text_becomes_text",
    ),
    "T3": (
        "test_check_presence.py::test_a_step_is_reckoned_to_run_exactly_when_the_runtime_starts_it",
        "test_documents_run.py::test_a_tool_template_runs_with_its_retries_conditions_and_substitutions",
        "test_loops.py::test_values_come_in_the_order_of_the_items_whoever_is_faster",
        "test_patterns.py::test_the_pattern_runs_as_its_name_says",
    ),
    "T4": (
        "test_dialects.py::test_a_tool_template_loads_as_written_by_hand",
        "test_dialects.py::test_retries_count_what_comes_after_the_first_attempt",
        "test_failure_policies.py::test_a_retry_ends_with_the_first_attempt_that_succeeds",
        "test_failure_policies.py::test_a_skipped_error_counts_as_a_choice_and_can_be_read",
        "test_failure_policies.py::test_an_attempt_that_takes_too_long_is_cut_off_as_a_timeout",
        "test_failure_policies.py::test_max_attempts_counts_the_first_one",
        "test_failure_policies.py::test_on_error_then_runs_its_target_only_in_that_case",
        "test_failure_policies.py::test_only_the_named_classes_are_tried_again",
        "test_failure_policies.py::test_the_first_failure_cancels_reads_lets_writes_finish_and_starts_nothing_more",
        "test_gaps.py::test_a_write_that_may_have_been_done_is_not_tried_again",
        "test_gaps.py::test_each_wait_before_a_retry_is_longer_by_the_multiplier_up_to_the_bound",
        "test_gaps.py::test_the_policies_and_the_output_of_a_tool_template_are_carried_over",
    ),
    "X4": (
        "test_dialects.py::test_a_graph_definition_loads_as_written_by_hand",
        "test_dialects.py::test_an_edge_that_leads_back_is_refused_with_the_way_to_write_a_loop",
        "test_gaps.py::test_a_graph_definition_may_list_its_nodes_and_label_its_edges",
        "test_gaps.py::test_drawings_have_the_steps_and_edges_of_the_spec_at_any_size",
        "test_server.py::test_the_drawing_shows_the_steps_and_edges_of_the_spec",
        "test_server.py::test_wait_gives_the_state_that_the_run_ended_in",
    ),
    "X5": (
        "test_check_presence.py::test_a_step_is_reckoned_to_run_exactly_when_the_runtime_starts_it",
        "test_checkpoints.py::test_what_was_done_is_on_disk_whatever_durability_the_caller_asks_for",
        "test_crash.py::test_a_run_killed_again_and_again_at_random_ends_as_if_it_had_not_been",
        "test_crash.py::test_a_run_killed_at_any_write_of_a_checkpoint_loses_and_repeats_nothing",
        "test_gaps.py::test_a_join_of_at_least_two_waits_for_two_and_for_no_third",
        "test_gaps.py::test_a_new_run_on_a_thread_begins_without_the_records_values_and_output_of_the_one_before",
        "test_patterns.py::test_the_pattern_runs_as_its_name_says",
        "test_people.py::test_other_branches_go_on_while_a_person_is_asked",
        "test_server.py::test_a_fork_of_a_paused_run_asks_anew_with_the_changed_value_behind_it",
        "test_server.py::test_a_fork_with_a_changed_value_runs_only_what_depends_on_it",
        "test_server.py::test_running_again_from_a_past_checkpoint_is_a_new_run_too",
        "test_server.py::test_the_history_shows_the_steps_as_they_ended",
        "test_server.py::test_wait_gives_the_state_that_the_run_ended_in",
        "test_server_killed.py::test_a_killed_server_ends_its_runs_later_and_repeats_no_finished_step",
    ),
    "X7": (
        "test_gaps.py::test_the_prompt_folders_and_the_models_of_the_settings_serve_their_modes",
        "test_prompts.py::test_a_mode_finds_its_own_prompt_before_the_shared_one",
        "test_prompts.py::test_a_prompt_renders_its_sections_with_defaults",
        "test_prompts.py::test_a_wrong_variable_is_invalid_input_that_names_it_and_the_prompt",
        "test_prompts_golden.py::test_every_mode_has_a_prompt",
    ),
    "X12": (
        "test_failure_policies.py::test_a_retry_ends_with_the_first_attempt_that_succeeds",
        "test_failure_policies.py::test_a_retry_waits_at_least_as_long_as_the_service_asked_for",
    ),
}
# -- end of what is written ---------------------------------------------------------------------------------------


def rewritten() -> str:
    """This file with the list of tests that carry each row."""
    from tests.test_requirements import marked

    text = Path(__file__).read_text(encoding="utf-8")
    begin, end = text.index("TESTS: Final"), text.index("# -- end of what is written")
    lines = ["TESTS: Final[dict[str, tuple[str, ...]]] = {"]
    for row, tests in sorted(marked().items(), key=lambda item: (item[0][0], int(item[0][1:]))):
        lines += [f'    "{row}": (', *(f'        "{test}",' for test in sorted(tests)), "    ),"]
    return text[:begin] + "\n".join([*lines, "}", ""]) + text[end:]


if __name__ == "__main__":
    Path(__file__).write_text(rewritten(), encoding="utf-8")
