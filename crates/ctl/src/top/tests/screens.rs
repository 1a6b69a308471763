//! Tests of the drawn screen: snapshots, and screens of unusual sizes.

use std::time::Duration;

use daemon_core::{AcceptState, Phase};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::{Color, Modifier};

use super::super::fixtures;
use super::super::screen::{CommandResult, Screen, SourceKind};
use super::{at, hit, press, screen_of, screen_text};
use crate::events::ColorMode;

#[test]
fn a_busy_pool_is_shown() {
    assert_snapshot!(screen_text(&mut screen_of(&fixtures::busy()), 80, 24));
}

/// In the packaged crate, which does not contain docs/, the test does nothing.
#[test]
fn the_screen_in_daemonctl_md_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/daemonctl.md");
    let Ok(document) = std::fs::read_to_string(path) else { return };
    let (_before, rest) = document
        .split_once("<!-- screen -->\n```text\n")
        .expect("the document has the start marker");
    let (screen, _after) =
        rest.split_once("\n```\n<!-- /screen -->").expect("the document has the end marker");
    let painted = screen_text(&mut screen_of(&fixtures::busy()), 80, 24);
    let painted: Vec<&str> =
        painted.lines().map(|line| line.trim_matches('"').trim_end()).collect();
    assert_eq!(screen, painted.join("\n"));
}

#[test]
fn a_busy_pool_is_shown_on_a_large_screen() {
    assert_snapshot!(screen_text(&mut screen_of(&fixtures::busy()), 120, 40));
}

#[test]
fn a_busy_pool_is_shown_on_a_tiny_screen() {
    assert_snapshot!(screen_text(&mut screen_of(&fixtures::busy()), 34, 9));
}

#[test]
fn an_empty_pool_is_shown() {
    let mut empty = fixtures::with_letters("web", "pre-forking", "", 8);
    empty.phase = Phase::Starting;
    assert_snapshot!(screen_text(&mut screen_of(&empty), 80, 24));
}

#[test]
fn a_daemon_without_children_is_shown() {
    let solo = fixtures::with_letters("cron", "non-forking", "", 0);
    assert_snapshot!(screen_text(&mut screen_of(&solo), 80, 12));
}

#[test]
fn a_post_forking_daemon_with_a_full_pool_is_shown() {
    let mut full = fixtures::with_letters("mail", "post-forking", "rrlrrrff", 8);
    full.accepting = Some(AcceptState::Paused);
    full.waiting = Some(17);
    assert_snapshot!(screen_text(&mut screen_of(&full), 80, 24));
}

#[test]
fn a_filtered_table_is_shown() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "/items/1");
    assert_snapshot!("filter_typed", screen_text(&mut screen, 80, 24));
    hit(&mut screen, KeyCode::Enter);
    assert_snapshot!("filter_kept", screen_text(&mut screen, 80, 16));
    press(&mut screen, "/xyz");
    hit(&mut screen, KeyCode::Enter);
    assert_snapshot!("filter_without_matches", screen_text(&mut screen, 80, 16));
}

#[test]
fn a_table_is_sorted_by_requests() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "sssss");
    hit(&mut screen, KeyCode::Down);
    assert_snapshot!(screen_text(&mut screen, 80, 24));
}

#[test]
fn the_help_is_shown() {
    let mut screen = screen_of(&fixtures::busy());
    press(&mut screen, "?");
    assert_snapshot!(screen_text(&mut screen, 80, 24));
}

#[test]
fn a_confirmation_is_shown() {
    let mut screen = screen_of(&fixtures::busy());
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    press(&mut screen, "K");
    assert_snapshot!(screen_text(&mut screen, 80, 24));
}

#[test]
fn a_trace_is_shown() {
    let mut screen = screen_of(&fixtures::busy());
    let text = (1..=60).map(|line| format!("#{line:<2} in some_function_of_the_child\n")).collect();
    screen.on_command_finished(
        CommandResult::Text { title: "trace of process 4714".to_owned(), text },
        at(11),
    );
    hit(&mut screen, KeyCode::PageDown);
    hit(&mut screen, KeyCode::Down);
    assert_snapshot!(screen_text(&mut screen, 80, 24));
}

#[test]
fn a_daemon_that_does_not_answer_is_shown_with_its_last_report_or_scoreboard() {
    let mut screen = screen_of(&fixtures::busy());
    let reason = "cannot get the status: the daemon at /run/web.sock did not answer within 5s";
    screen.on_disconnected(reason.to_owned(), at(15));
    screen.on_disconnected(reason.to_owned(), at(21));
    screen.on_tick(at(27));
    assert_snapshot!("lost_last_answer", screen_text(&mut screen, 80, 24));
    let board = fixtures::later(&fixtures::board_only(), Duration::from_secs(20), 5);
    screen.on_board(board, at(28));
    assert_snapshot!("lost_board", screen_text(&mut screen, 80, 24));
    let answer = fixtures::later(&fixtures::busy(), Duration::from_secs(40), 5);
    screen.on_report(&fixtures::report(&answer), at(48));
    let screen = screen_text(&mut screen, 80, 24);
    assert!(!screen.contains("NO ANSWER"), "{screen}");
}

#[test]
fn a_scoreboard_file_is_shown_without_its_daemon() {
    let mut screen = Screen::new(SourceKind::BoardOnly, ColorMode::Plain, at(0));
    screen.on_board(fixtures::board_only(), at(0));
    let later = fixtures::later(&fixtures::board_only(), Duration::from_secs(5), 3);
    screen.on_board(later, at(5));
    assert_snapshot!(screen_text(&mut screen, 80, 24));
}

#[test]
fn a_truncated_scoreboard_shows_the_number_of_omitted_slots() {
    let large = fixtures::with_letters("web", "pre-forking", &"wr".repeat(1_000), 2_500);
    let screen = screen_text(&mut screen_of(&large), 80, 24);
    let board: String = screen.lines().skip(3).take(5).map(|line| line.trim_matches('"')).collect();
    let (letters, more) = board.split_once(" +").expect("a truncated scoreboard");
    let more: usize = more.trim_end().trim_end_matches(']').parse().expect("a number");
    assert_eq!(letters.len() - 1 + more, 2_500, "{screen}");
    assert_snapshot!(screen);
}

#[test]
fn the_status_of_a_child_has_a_colour_unless_colours_are_disabled() {
    let cell = |color_mode| {
        let mut screen = Screen::new(SourceKind::Daemon, color_mode, at(0));
        screen.on_report(
            &fixtures::report(&fixtures::with_letters("web", "pre-forking", "wr", 8)),
            at(0),
        );
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
        terminal.draw(|frame| screen.view(frame)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let cell = buffer.content().iter().find(|cell| cell.symbol() == "[").map(|_| ());
        assert_eq!(cell, Some(()));
        let coloured = buffer.content().iter().filter(|cell| cell.fg != Color::Reset).count();
        let serving = buffer
            .content()
            .iter()
            .find(|cell| cell.symbol() == "r" && cell.modifier.contains(Modifier::BOLD))
            .map(|cell| cell.fg);
        (coloured > 0, serving)
    };
    assert_eq!(cell(ColorMode::Color), (true, Some(Color::Yellow)));
    assert_eq!(cell(ColorMode::Plain), (false, Some(Color::Reset)));
}

/// Draws the screen, but does not return its text: a screen without cells has no text.
fn draw(screen: &mut Screen, width: u16, height: u16) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.view(frame)).expect("drawn");
}

#[test]
fn every_screen_can_be_drawn_in_every_size() {
    let large = fixtures::with_letters("web", "pre-forking", &"wrl?".repeat(50), 300);
    let empty = fixtures::with_letters("web", "pre-forking", "", 8);
    let sizes =
        [(0, 0), (1, 1), (2, 30), (20, 5), (5, 2), (80, 24), (300, 100), (1, 100), (300, 1)];
    for snapshot in [fixtures::busy(), large, empty, fixtures::board_only()] {
        for keys in ["", "?", "K", "/w", "sssssss", "p"] {
            let mut screen = Screen::new(SourceKind::Daemon, ColorMode::Color, at(0));
            // `board_only` has no data for a report, so each snapshot is shown as a scoreboard.
            screen.on_disconnected("timeout".to_owned(), at(0));
            screen.on_board(snapshot.clone(), at(1));
            press(&mut screen, keys);
            hit(&mut screen, KeyCode::End);
            for (width, height) in sizes {
                draw(&mut screen, width, height);
            }
            let text = "line\n".repeat(200);
            screen.on_command_finished(
                CommandResult::Text { title: "trace".to_owned(), text },
                at(2),
            );
            hit(&mut screen, KeyCode::End);
            for (width, height) in sizes {
                draw(&mut screen, width, height);
            }
        }
    }
    for (width, height) in sizes {
        draw(&mut Screen::new(SourceKind::Daemon, ColorMode::Color, at(0)), width, height);
    }
}
