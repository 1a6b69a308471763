//! Golden screens, and sizes that nobody has thought of.

use std::time::Duration;

use actix_daemon::AcceptState;
use daemon_core::Phase;
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::{Color, Modifier};

use super::super::screen::{Means, Palette, Screen, Told};
use super::super::staged;
use super::{at, hit, of_daemon, painted, press};

#[test]
fn a_busy_pool() {
    assert_snapshot!(painted(&mut of_daemon(&staged::busy()), 80, 24));
}

/// The document is not part of the packaged crate; there is then nothing to compare.
#[test]
fn the_screen_in_the_document_is_as_it_looks() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/daemonctl.md");
    let Ok(document) = std::fs::read_to_string(path) else { return };
    let (_before, rest) = document.split_once("<!-- screen -->\n```text\n").expect("it begins");
    let (screen, _after) = rest.split_once("\n```\n<!-- /screen -->").expect("it ends");
    let painted = painted(&mut of_daemon(&staged::busy()), 80, 24);
    let painted: Vec<&str> =
        painted.lines().map(|line| line.trim_matches('"').trim_end()).collect();
    assert_eq!(screen, painted.join("\n"));
}

#[test]
fn a_busy_pool_on_a_large_screen() {
    assert_snapshot!(painted(&mut of_daemon(&staged::busy()), 120, 40));
}

#[test]
fn a_busy_pool_on_a_tiny_screen() {
    assert_snapshot!(painted(&mut of_daemon(&staged::busy()), 34, 9));
}

#[test]
fn an_empty_pool() {
    let mut empty = staged::bare("web", "pre-fork", "", 8);
    empty.phase = Phase::Starting;
    assert_snapshot!(painted(&mut of_daemon(&empty), 80, 24));
}

#[test]
fn a_daemon_without_children() {
    let solo = staged::bare("cron", "solo", "", 0);
    assert_snapshot!(painted(&mut of_daemon(&solo), 80, 12));
}

#[test]
fn a_post_forking_daemon_whose_pool_is_full() {
    let mut full = staged::bare("mail", "post-fork", "rrlrrrff", 8);
    full.accepting = Some(AcceptState::Paused);
    full.waiting = Some(17);
    assert_snapshot!(painted(&mut of_daemon(&full), 80, 24));
}

#[test]
fn a_filtered_table() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "/items/1");
    assert_snapshot!("filter_typed", painted(&mut screen, 80, 24));
    hit(&mut screen, KeyCode::Enter);
    assert_snapshot!("filter_kept", painted(&mut screen, 80, 16));
    press(&mut screen, "/xyz");
    hit(&mut screen, KeyCode::Enter);
    assert_snapshot!("filter_of_nobody", painted(&mut screen, 80, 16));
}

#[test]
fn a_table_sorted_by_requests() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "sssss");
    hit(&mut screen, KeyCode::Down);
    assert_snapshot!(painted(&mut screen, 80, 24));
}

#[test]
fn the_help() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "?");
    assert_snapshot!(painted(&mut screen, 80, 24));
}

#[test]
fn a_confirmation() {
    let mut screen = of_daemon(&staged::busy());
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    press(&mut screen, "K");
    assert_snapshot!(painted(&mut screen, 80, 24));
}

#[test]
fn a_trace() {
    let mut screen = of_daemon(&staged::busy());
    let text = (1..=60).map(|line| format!("#{line:<2} in some_function_of_the_child\n")).collect();
    screen.on_told(Told::Text { title: "trace of process 4714".to_owned(), text }, at(11));
    hit(&mut screen, KeyCode::PageDown);
    hit(&mut screen, KeyCode::Down);
    assert_snapshot!(painted(&mut screen, 80, 24));
}

#[test]
fn a_daemon_that_does_not_answer() {
    let mut screen = of_daemon(&staged::busy());
    let why = "cannot get the status: the daemon at /run/web.sock has not answered within 5 s";
    screen.on_lost(why.to_owned(), at(15));
    screen.on_lost(why.to_owned(), at(21));
    screen.on_tick(at(27));
    assert_snapshot!("lost_last_answer", painted(&mut screen, 80, 24));
    let board = staged::later(&staged::board_only(), Duration::from_secs(20), 5);
    screen.on_board(board, at(28));
    assert_snapshot!("lost_board", painted(&mut screen, 80, 24));
    let answer = staged::later(&staged::busy(), Duration::from_secs(40), 5);
    screen.on_report(&staged::report(&answer), at(48));
    let screen = painted(&mut screen, 80, 24);
    assert!(!screen.contains("NO ANSWER"), "{screen}");
}

#[test]
fn a_scoreboard_alone() {
    let mut screen = Screen::new(Means::BoardAlone, Palette::Plain, at(0));
    screen.on_board(staged::board_only(), at(0));
    let later = staged::later(&staged::board_only(), Duration::from_secs(5), 3);
    screen.on_board(later, at(5));
    assert_snapshot!(painted(&mut screen, 80, 24));
}

#[test]
fn a_large_board_is_cut_with_the_number_of_slots_that_are_not_shown() {
    let large = staged::bare("web", "pre-fork", &"wr".repeat(1_000), 2_500);
    let screen = painted(&mut of_daemon(&large), 80, 24);
    let board: String = screen.lines().skip(3).take(5).map(|line| line.trim_matches('"')).collect();
    let (letters, more) = board.split_once(" +").expect("it is cut");
    let more: usize = more.trim_end().trim_end_matches(']').parse().expect("a number");
    assert_eq!(letters.len() - 1 + more, 2_500, "{screen}");
    assert_snapshot!(screen);
}

#[test]
fn the_state_of_a_child_has_its_colour_unless_the_user_wants_none() {
    let cell = |palette| {
        let mut screen = Screen::new(Means::Daemon, palette, at(0));
        screen.on_report(&staged::report(&staged::bare("web", "pre-fork", "wr", 8)), at(0));
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
    assert_eq!(cell(Palette::Colours), (true, Some(Color::Yellow)));
    assert_eq!(cell(Palette::Plain), (false, Some(Color::Reset)));
}

/// A screen without any cell cannot be read, but drawn.
fn draw(screen: &mut Screen, width: u16, height: u16) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.view(frame)).expect("drawn");
}

#[test]
fn any_screen_fits_into_any_size() {
    let large = staged::bare("web", "pre-fork", &"wrl?".repeat(50), 300);
    let empty = staged::bare("web", "pre-fork", "", 8);
    let sizes =
        [(0, 0), (1, 1), (2, 30), (20, 5), (5, 2), (80, 24), (300, 100), (1, 100), (300, 1)];
    for picture in [staged::busy(), large, empty, staged::board_only()] {
        for keys in ["", "?", "K", "/w", "sssssss", "p"] {
            let mut screen = Screen::new(Means::Daemon, Palette::Colours, at(0));
            // As a board, for those that no daemon has told.
            screen.on_lost("it hangs".to_owned(), at(0));
            screen.on_board(picture.clone(), at(1));
            press(&mut screen, keys);
            hit(&mut screen, KeyCode::End);
            for (width, height) in sizes {
                draw(&mut screen, width, height);
            }
            let text = "line\n".repeat(200);
            screen.on_told(Told::Text { title: "trace".to_owned(), text }, at(2));
            hit(&mut screen, KeyCode::End);
            for (width, height) in sizes {
                draw(&mut screen, width, height);
            }
        }
    }
    for (width, height) in sizes {
        draw(&mut Screen::new(Means::Daemon, Palette::Colours, at(0)), width, height);
    }
}
