//! Tests of the keys of the live screen.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::columns::Column;
use super::super::fixtures;
use super::super::screen::{
    ChildCommand, CommandResult, InputMode, Screen, ScreenRequest, SourceKind,
};
use super::{at, hit, press, screen_of, screen_text};
use crate::events::ColorMode;

fn selected(screen: &Screen) -> Option<u32> {
    screen.selected_child().map(|child| child.slot.get())
}

fn slots(screen: &Screen) -> Vec<u32> {
    screen.rows().iter().map(|child| child.slot.get()).collect()
}

#[test]
fn the_arrows_select_a_child_and_stop_at_the_ends() {
    let mut screen = screen_of(&fixtures::busy());
    screen_text(&mut screen, 80, 16);
    assert_eq!(selected(&screen), Some(0));
    hit(&mut screen, KeyCode::Up);
    assert_eq!(selected(&screen), Some(0));
    hit(&mut screen, KeyCode::Down);
    assert_eq!(selected(&screen), Some(1));
    hit(&mut screen, KeyCode::End);
    assert_eq!(selected(&screen), Some(14));
    hit(&mut screen, KeyCode::Down);
    assert_eq!(selected(&screen), Some(14));
    hit(&mut screen, KeyCode::PageUp);
    let page = selected(&screen).expect("a child is selected");
    assert!((1..14).contains(&page), "{page}");
    hit(&mut screen, KeyCode::PageDown);
    assert_eq!(selected(&screen), Some(14));
    hit(&mut screen, KeyCode::Home);
    assert_eq!(selected(&screen), Some(0));
}

#[test]
fn the_selected_row_is_always_visible() {
    let mut screen =
        screen_of(&fixtures::with_letters("web", "pre-forking", &"r".repeat(200), 200));
    for key in [KeyCode::Down, KeyCode::PageDown, KeyCode::End, KeyCode::PageUp, KeyCode::Home] {
        for height in [24, 8, 5, 40] {
            hit(&mut screen, key);
            let shown = screen_text(&mut screen, 80, height);
            let label = format!("GET /items/{}", selected(&screen).expect("a child is selected"));
            let pid = screen.selected_child().and_then(|child| child.pid).expect("a pid");
            let is_there = shown.contains(&format!(" {pid} "));
            assert!(is_there, "{label} after {key:?} on {height} lines:\n{shown}");
        }
    }
}

#[test]
fn the_same_child_stays_selected_in_every_sort_order() {
    let mut screen = screen_of(&fixtures::busy());
    for _step in 0..5 {
        hit(&mut screen, KeyCode::Down);
    }
    let child = selected(&screen);
    for _column in Column::ALL {
        press(&mut screen, "s");
        assert_eq!(selected(&screen), child);
        press(&mut screen, "r");
        assert_eq!(selected(&screen), child);
    }
    let later = fixtures::later(&fixtures::busy(), Duration::from_secs(60), 100);
    screen.on_report(&fixtures::report(&later), at(60));
    assert_eq!(selected(&screen), child);
}

#[test]
fn the_child_in_the_same_row_is_selected_when_the_selected_child_exits() {
    let mut screen = screen_of(&fixtures::busy());
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    let mut snapshot = fixtures::later(&fixtures::busy(), Duration::from_secs(20), 50);
    snapshot.children.remove(2);
    screen.on_report(&fixtures::report(&snapshot), at(20));
    assert_eq!(selected(&screen), Some(3));
    snapshot.children.truncate(1);
    screen.on_report(&fixtures::report(&snapshot), at(21));
    assert_eq!(selected(&screen), Some(0));
    snapshot.children.clear();
    screen.on_report(&fixtures::report(&snapshot), at(22));
    assert_eq!(selected(&screen), None);
    screen.on_report(&fixtures::report(&fixtures::busy()), at(23));
    assert_eq!(selected(&screen), Some(0));
}

#[test]
fn s_sorts_by_the_next_column_and_r_reverses_the_order() {
    let mut screen = screen_of(&fixtures::busy());
    for column in Column::ALL.into_iter().cycle().skip(1).take(Column::ALL.len()) {
        press(&mut screen, "s");
        assert_eq!((screen.column, screen.descending), (column, column.is_descending()));
    }
    press(&mut screen, "S");
    assert_eq!(screen.column, Column::Cause);
    press(&mut screen, "s");
    assert_eq!((screen.column, screen.descending), (Column::Slot, false));
    let mut up = slots(&screen);
    press(&mut screen, "r");
    up.reverse();
    assert_eq!(slots(&screen), up);
}

#[test]
fn the_rows_are_sorted_by_the_values_of_the_sort_column() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "sssss");
    assert_eq!(screen.column, Column::Requests);
    let requests: Vec<u64> = screen.rows().iter().map(|child| child.requests).collect();
    assert!(requests.is_sorted_by(|one, next| one >= next), "{requests:?}");
    press(&mut screen, "s");
    let rows = screen.rows();
    let cpu: Vec<_> = rows.iter().map(|child| screen.rates.cpu(child.key())).collect();
    assert_eq!(cpu.first().copied().flatten().map(f64::round), Some(25.0));
    assert_eq!(
        cpu.last().copied().flatten(),
        None,
        "a child that has not been forked has no CPU rate"
    );
    press(&mut screen, "SSSSSSS");
    assert_eq!(screen.column, Column::Cause);
    let causes = screen.rows().into_iter().filter_map(|child| child.causes.first());
    let causes: Vec<&str> = causes.map(daemon_core::ExitCause::kind).collect();
    assert_eq!(causes, ["exited", "exited", "killed", "out-of-memory", "rogue-cpu"]);
}

#[test]
fn a_filter_matches_a_status_letter_or_the_start_of_a_pid_or_a_part_of_the_label() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "/l");
    assert_eq!(slots(&screen), [5], "a single letter matches the status, not the label");
    hit(&mut screen, KeyCode::Esc);
    assert_eq!(screen.mode, InputMode::Table);
    press(&mut screen, "/4714");
    assert_eq!(slots(&screen), [1]);
    hit(&mut screen, KeyCode::Esc);
    press(&mut screen, "/REPORT");
    assert_eq!(slots(&screen), [5]);
    hit(&mut screen, KeyCode::Backspace);
    hit(&mut screen, KeyCode::Enter);
    assert_eq!((&screen.mode, screen.filter.as_str()), (&InputMode::Table, "REPOR"));
    assert_eq!(selected(&screen), Some(5));
    assert_eq!(hit(&mut screen, KeyCode::Esc), None, "the first Esc clears the filter");
    assert_eq!(slots(&screen).len(), 14);
    assert_eq!(hit(&mut screen, KeyCode::Esc), Some(ScreenRequest::Quit));
}

#[test]
fn command_keys_are_text_in_the_filter() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "/qKRts?p");
    assert_eq!((&screen.mode, screen.filter.as_str()), (&InputMode::Filter, "qKRts?p"));
}

#[test]
fn commands_need_a_confirmation() {
    let commands = [
        ("K", ChildCommand::Kill(4_711)),
        ("R", ChildCommand::Retire(4_711)),
        ("t", ChildCommand::Trace(4_711)),
    ];
    for (key, command) in commands {
        let mut screen = screen_of(&fixtures::busy());
        assert_eq!(press(&mut screen, key), None);
        assert_eq!(screen.mode, InputMode::Confirm(command));
        assert_eq!(press(&mut screen, "xKs"), None, "other keys neither confirm nor cancel");
        assert_eq!(screen.mode, InputMode::Confirm(command));
        assert_eq!(press(&mut screen, "n"), None);
        assert_eq!(screen.mode, InputMode::Table);
        press(&mut screen, key);
        assert_eq!(hit(&mut screen, KeyCode::Esc), None);
        assert_eq!(screen.mode, InputMode::Table);
        press(&mut screen, key);
        assert_eq!(press(&mut screen, "y"), Some(ScreenRequest::Run(command)));
        assert_eq!(screen.mode, InputMode::Table);
    }
}

#[test]
fn a_confirmation_keeps_its_child_when_the_selection_changes() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "K");
    let mut snapshot = fixtures::busy();
    snapshot.children.remove(0);
    screen.on_report(&fixtures::report(&snapshot), at(20));
    assert_eq!(press(&mut screen, "y"), Some(ScreenRequest::Run(ChildCommand::Kill(4_711))));
}

#[test]
fn commands_need_a_running_child_and_a_daemon() {
    let result = |screen: &Screen| {
        screen.status_message.as_ref().map(|status_message| status_message.result.clone())
    };
    let mut screen = screen_of(&fixtures::with_letters("web", "pre-forking", "F", 4));
    press(&mut screen, "K");
    assert_eq!(screen.mode, InputMode::Table);
    assert_eq!(
        result(&screen),
        Some(CommandResult::Failed("the child has not been forked yet".to_owned()))
    );

    let mut screen = screen_of(&fixtures::with_letters("web", "pre-forking", "", 4));
    press(&mut screen, "R");
    assert_eq!(screen.mode, InputMode::Table);
    assert!(
        matches!(result(&screen), Some(CommandResult::Failed(reason)) if reason.contains("no child"))
    );

    let mut screen = Screen::new(SourceKind::BoardOnly, ColorMode::Plain, at(0));
    screen.on_board(fixtures::board_only(), at(0));
    press(&mut screen, "t");
    assert_eq!(screen.mode, InputMode::Table);
    assert!(
        matches!(result(&screen), Some(CommandResult::Failed(reason)) if reason.contains("--socket"))
    );
}

#[test]
fn a_status_message_is_shown_for_a_few_seconds_or_until_the_next_key() {
    let mut screen = screen_of(&fixtures::busy());
    screen.on_command_finished(
        CommandResult::Done("killed child 0 (process 4711)".to_owned()),
        at(12),
    );
    assert!(screen_text(&mut screen, 80, 24).contains("killed child 0"));
    screen.on_tick(at(20));
    assert!(screen_text(&mut screen, 80, 24).contains("killed child 0"));
    screen.on_tick(at(40));
    assert!(!screen_text(&mut screen, 80, 24).contains("killed child 0"));
    screen.on_command_finished(CommandResult::Failed("no such child".to_owned()), at(41));
    assert!(screen_text(&mut screen, 80, 24).contains("no such child"));
    hit(&mut screen, KeyCode::Down);
    assert!(!screen_text(&mut screen, 80, 24).contains("no such child"));
}

#[test]
fn p_freezes_and_unfreezes_the_screen() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "p");
    assert!(screen.frozen);
    let later = fixtures::report(&fixtures::with_letters("other", "pre-forking", "w", 8));
    screen.on_report(&later, at(30));
    let shown = screen_text(&mut screen, 80, 24);
    assert!(shown.contains("web") && shown.contains("FROZEN"), "{shown}");
    press(&mut screen, "p");
    screen.on_report(&later, at(31));
    assert!(screen_text(&mut screen, 80, 24).contains("other"));
}

#[test]
fn a_trace_scrolls_within_its_lines() {
    let mut screen = screen_of(&fixtures::busy());
    screen_text(&mut screen, 80, 24);
    let text = "line\n".repeat(50);
    screen.on_command_finished(CommandResult::Text { title: "trace".to_owned(), text }, at(12));
    let top = |screen: &Screen| match &screen.mode {
        InputMode::Text { top, .. } => *top,
        other => panic!("{other:?}"),
    };
    hit(&mut screen, KeyCode::Up);
    assert_eq!(top(&screen), 0);
    hit(&mut screen, KeyCode::Down);
    assert_eq!(top(&screen), 1);
    hit(&mut screen, KeyCode::End);
    assert_eq!(top(&screen), 49);
    hit(&mut screen, KeyCode::PageDown);
    assert_eq!(top(&screen), 49);
    hit(&mut screen, KeyCode::Home);
    assert_eq!(top(&screen), 0);
    assert_eq!(press(&mut screen, "q"), None, "q closes the text and does not quit");
    assert_eq!(screen.mode, InputMode::Table);
}

#[test]
fn control_c_quits_in_every_mode() {
    for keys in ["", "?", "K", "/filter"] {
        let mut screen = screen_of(&fixtures::busy());
        press(&mut screen, keys);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.on_key(key, at(12)), Some(ScreenRequest::Quit), "{keys}");
    }
}

#[test]
fn the_requests_per_second_include_those_of_former_children() {
    let mut snapshot = fixtures::with_letters("web", "pre-forking", "rr", 4);
    let mut screen = Screen::new(SourceKind::Daemon, ColorMode::Plain, at(0));
    screen.on_report(&fixtures::report(&snapshot), at(0));
    assert_eq!(screen.rates.per_second(), None);
    // One child has started 30 requests and exited. The other child has started 20 requests.
    snapshot.children.remove(1);
    let counters = snapshot.counters.as_mut().expect("counters");
    counters.requests += 30 + 20;
    snapshot.children[0].requests += 20;
    snapshot.up += Duration::from_secs(5);
    screen.on_report(&fixtures::report(&snapshot), at(5));
    assert_eq!(screen.rates.per_second(), Some(10.0));
    // A restarted daemon is not compared with the former daemon.
    let fresh = fixtures::with_letters("web", "pre-forking", "r", 4);
    let mut report = fixtures::report(&fresh);
    report.parent += 1;
    report.up = Duration::from_secs(1);
    screen.on_report(&report, at(10));
    assert_eq!(screen.rates.history(10).count(), 1);
}

#[test]
fn the_requests_per_second_from_a_scoreboard_file_include_only_current_children() {
    let mut screen = Screen::new(SourceKind::BoardOnly, ColorMode::Plain, at(0));
    let mut snapshot = fixtures::board_only();
    screen.on_board(snapshot.clone(), at(0));
    snapshot.up += Duration::from_secs(2);
    snapshot.children[0].requests += 8;
    // The slot has a new child, whose requests are counted from 0.
    snapshot.children[1].generation += 1;
    snapshot.children[1].requests = 2;
    screen.on_board(snapshot, at(2));
    assert_eq!(screen.rates.per_second(), Some(5.0));
}

#[test]
fn the_scoreboard_is_ignored_while_the_daemon_answers() {
    let mut screen = screen_of(&fixtures::busy());
    screen.on_board(fixtures::with_letters("x", "pre-forking", "w", 2), at(12));
    assert_eq!(slots(&screen).len(), 14);
    screen.on_disconnected("timeout".to_owned(), at(13));
    screen.on_board(fixtures::with_letters("x", "pre-forking", "w", 2), at(14));
    assert_eq!(slots(&screen).len(), 1);
    assert!(screen_text(&mut screen, 80, 24).contains("web"), "the name of the daemon is kept");
}
