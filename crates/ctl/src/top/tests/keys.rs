//! What keys do.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::columns::{Column, Direction};
use super::super::screen::{Deed, Means, Mode, Pace, Palette, Screen, Told, Wish};
use super::super::staged;
use super::{at, hit, of_daemon, painted, press};

fn selected(screen: &Screen) -> Option<u32> {
    screen.selected_child().map(|child| child.slot.get())
}

fn slots(screen: &Screen) -> Vec<u32> {
    screen.rows().iter().map(|child| child.slot.get()).collect()
}

#[test]
fn the_arrows_select_a_child_and_stop_at_the_ends() {
    let mut screen = of_daemon(&staged::busy());
    painted(&mut screen, 80, 16);
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
    let page = selected(&screen).expect("one");
    assert!((1..14).contains(&page), "{page}");
    hit(&mut screen, KeyCode::PageDown);
    assert_eq!(selected(&screen), Some(14));
    hit(&mut screen, KeyCode::Home);
    assert_eq!(selected(&screen), Some(0));
}

#[test]
fn the_selected_row_is_always_in_sight() {
    let mut screen = of_daemon(&staged::bare("web", "pre-fork", &"r".repeat(200), 200));
    for key in [KeyCode::Down, KeyCode::PageDown, KeyCode::End, KeyCode::PageUp, KeyCode::Home] {
        for height in [24, 8, 5, 40] {
            hit(&mut screen, key);
            let shown = painted(&mut screen, 80, height);
            let label = format!("GET /items/{}", selected(&screen).expect("one"));
            let pid = screen.selected_child().and_then(|child| child.pid).expect("a pid");
            let is_there = shown.contains(&format!(" {pid} "));
            assert!(is_there, "{label} after {key:?} on {height} lines:\n{shown}");
        }
    }
}

#[test]
fn the_selection_stays_with_its_child_whatever_the_order() {
    let mut screen = of_daemon(&staged::busy());
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
    let later = staged::later(&staged::busy(), Duration::from_secs(60), 100);
    screen.on_report(&staged::report(&later), at(60));
    assert_eq!(selected(&screen), child);
}

#[test]
fn who_stands_on_the_row_is_selected_when_the_child_is_gone() {
    let mut screen = of_daemon(&staged::busy());
    hit(&mut screen, KeyCode::Down);
    hit(&mut screen, KeyCode::Down);
    let mut picture = staged::later(&staged::busy(), Duration::from_secs(20), 50);
    picture.children.remove(2);
    screen.on_report(&staged::report(&picture), at(20));
    assert_eq!(selected(&screen), Some(3));
    picture.children.truncate(1);
    screen.on_report(&staged::report(&picture), at(21));
    assert_eq!(selected(&screen), Some(0));
    picture.children.clear();
    screen.on_report(&staged::report(&picture), at(22));
    assert_eq!(selected(&screen), None);
    screen.on_report(&staged::report(&staged::busy()), at(23));
    assert_eq!(selected(&screen), Some(0));
}

#[test]
fn s_goes_through_all_columns_and_back_and_r_turns_the_order() {
    let mut screen = of_daemon(&staged::busy());
    for column in Column::ALL.into_iter().cycle().skip(1).take(Column::ALL.len()) {
        press(&mut screen, "s");
        assert_eq!((screen.column, screen.direction), (column, column.direction()));
    }
    press(&mut screen, "S");
    assert_eq!(screen.column, Column::Cause);
    press(&mut screen, "s");
    assert_eq!((screen.column, screen.direction), (Column::Slot, Direction::Up));
    let mut up = slots(&screen);
    press(&mut screen, "r");
    up.reverse();
    assert_eq!(slots(&screen), up);
}

#[test]
fn the_order_of_each_column_is_that_of_its_cells() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "sssss");
    assert_eq!(screen.column, Column::Requests);
    let requests: Vec<u64> = screen.rows().iter().map(|child| child.requests).collect();
    assert!(requests.is_sorted_by(|one, next| one >= next), "{requests:?}");
    press(&mut screen, "s");
    let rows = screen.rows();
    let cpu: Vec<_> = rows.iter().map(|child| screen.rates.cpu(child.who())).collect();
    assert_eq!(cpu.first().copied().flatten().map(f64::round), Some(25.0));
    assert_eq!(cpu.last().copied().flatten(), None, "the one that is not born yet");
    press(&mut screen, "SSSSSSS");
    assert_eq!(screen.column, Column::Cause);
    let causes = screen.rows().into_iter().filter_map(|child| child.causes.first());
    let causes: Vec<&str> = causes.map(daemon_core::ExitCause::kind).collect();
    assert_eq!(causes, ["exited", "exited", "killed", "out-of-memory", "rogue-cpu"]);
}

#[test]
fn a_filter_is_a_letter_of_the_status_or_the_beginning_of_a_pid_or_a_part_of_the_label() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "/l");
    assert_eq!(slots(&screen), [5], "not the label's letters, which others have too");
    hit(&mut screen, KeyCode::Esc);
    assert_eq!(screen.mode, Mode::Table);
    press(&mut screen, "/4714");
    assert_eq!(slots(&screen), [1]);
    hit(&mut screen, KeyCode::Esc);
    press(&mut screen, "/REPORT");
    assert_eq!(slots(&screen), [5]);
    hit(&mut screen, KeyCode::Backspace);
    hit(&mut screen, KeyCode::Enter);
    assert_eq!((&screen.mode, screen.filter.as_str()), (&Mode::Table, "REPOR"));
    assert_eq!(selected(&screen), Some(5));
    assert_eq!(hit(&mut screen, KeyCode::Esc), None, "it clears the filter first");
    assert_eq!(slots(&screen).len(), 14);
    assert_eq!(hit(&mut screen, KeyCode::Esc), Some(Wish::Quit));
}

#[test]
fn keys_that_mean_something_in_the_table_are_letters_in_the_filter() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "/qKRts?p");
    assert_eq!((&screen.mode, screen.filter.as_str()), (&Mode::Filter, "qKRts?p"));
}

#[test]
fn a_child_is_killed_retired_and_traced_only_after_a_yes() {
    let deeds = [("K", Deed::Kill(4_711)), ("R", Deed::Retire(4_711)), ("t", Deed::Trace(4_711))];
    for (key, deed) in deeds {
        let mut screen = of_daemon(&staged::busy());
        assert_eq!(press(&mut screen, key), None);
        assert_eq!(screen.mode, Mode::Confirm(deed));
        assert_eq!(press(&mut screen, "xKs"), None, "neither yes nor no");
        assert_eq!(screen.mode, Mode::Confirm(deed));
        assert_eq!(press(&mut screen, "n"), None);
        assert_eq!(screen.mode, Mode::Table);
        press(&mut screen, key);
        assert_eq!(hit(&mut screen, KeyCode::Esc), None);
        assert_eq!(screen.mode, Mode::Table);
        press(&mut screen, key);
        assert_eq!(press(&mut screen, "y"), Some(Wish::Do(deed)));
        assert_eq!(screen.mode, Mode::Table);
    }
}

#[test]
fn a_question_is_about_the_child_that_was_selected_when_it_was_asked() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "K");
    let mut picture = staged::busy();
    picture.children.remove(0);
    screen.on_report(&staged::report(&picture), at(20));
    assert_eq!(press(&mut screen, "y"), Some(Wish::Do(Deed::Kill(4_711))));
}

#[test]
fn nothing_is_asked_of_a_child_that_is_not_born_or_of_a_scoreboard() {
    let told = |screen: &Screen| screen.notice.as_ref().map(|notice| notice.told.clone());
    let mut screen = of_daemon(&staged::bare("web", "pre-fork", "F", 4));
    press(&mut screen, "K");
    assert_eq!(screen.mode, Mode::Table);
    assert_eq!(told(&screen), Some(Told::Failed("the child is not born yet".to_owned())));

    let mut screen = of_daemon(&staged::bare("web", "pre-fork", "", 4));
    press(&mut screen, "R");
    assert_eq!(screen.mode, Mode::Table);
    assert!(matches!(told(&screen), Some(Told::Failed(why)) if why.contains("no child")));

    let mut screen = Screen::new(Means::BoardAlone, Palette::Plain, at(0));
    screen.on_board(staged::board_only(), at(0));
    press(&mut screen, "t");
    assert_eq!(screen.mode, Mode::Table);
    assert!(matches!(told(&screen), Some(Told::Failed(why)) if why.contains("--socket")));
}

#[test]
fn what_was_told_is_shown_for_a_while_or_until_the_next_key() {
    let mut screen = of_daemon(&staged::busy());
    screen.on_told(Told::Done("child 0 (process 4711) is killed".to_owned()), at(12));
    assert!(painted(&mut screen, 80, 24).contains("(process 4711) is killed"));
    screen.on_tick(at(20));
    assert!(painted(&mut screen, 80, 24).contains("(process 4711) is killed"));
    screen.on_tick(at(40));
    assert!(!painted(&mut screen, 80, 24).contains("(process 4711) is killed"));
    screen.on_told(Told::Failed("it is not so".to_owned()), at(41));
    assert!(painted(&mut screen, 80, 24).contains("it is not so"));
    hit(&mut screen, KeyCode::Down);
    assert!(!painted(&mut screen, 80, 24).contains("it is not so"));
}

#[test]
fn p_holds_the_screen_and_lets_it_go_on() {
    let mut screen = of_daemon(&staged::busy());
    press(&mut screen, "p");
    assert_eq!(screen.pace, Pace::Paused);
    let later = staged::report(&staged::bare("other", "pre-fork", "w", 8));
    screen.on_report(&later, at(30));
    let shown = painted(&mut screen, 80, 24);
    assert!(shown.contains("web") && shown.contains("PAUSED"), "{shown}");
    press(&mut screen, "p");
    screen.on_report(&later, at(31));
    assert!(painted(&mut screen, 80, 24).contains("other"));
}

#[test]
fn a_trace_scrolls_and_stops_at_its_ends() {
    let mut screen = of_daemon(&staged::busy());
    painted(&mut screen, 80, 24);
    let text = "line\n".repeat(50);
    screen.on_told(Told::Text { title: "trace".to_owned(), text }, at(12));
    let top = |screen: &Screen| match &screen.mode {
        Mode::Text { top, .. } => *top,
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
    assert_eq!(press(&mut screen, "q"), None, "it closes the text alone");
    assert_eq!(screen.mode, Mode::Table);
}

#[test]
fn control_c_leaves_from_everywhere() {
    for keys in ["", "?", "K", "/filter"] {
        let mut screen = of_daemon(&staged::busy());
        press(&mut screen, keys);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.on_key(key, at(12)), Some(Wish::Quit), "{keys}");
    }
}

#[test]
fn requests_a_second_are_those_of_all_children_that_are_and_were() {
    let mut picture = staged::bare("web", "pre-fork", "rr", 4);
    let mut screen = Screen::new(Means::Daemon, Palette::Plain, at(0));
    screen.on_report(&staged::report(&picture), at(0));
    assert_eq!(screen.rates.per_second(), None);
    // One child has begun 30 and is gone; the other has begun 20.
    picture.children.remove(1);
    let counters = picture.counters.as_mut().expect("counted");
    counters.requests += 30 + 20;
    picture.children[0].requests += 20;
    picture.up += Duration::from_secs(5);
    screen.on_report(&staged::report(&picture), at(5));
    assert_eq!(screen.rates.per_second(), Some(10.0));
    // Another daemon in its place is not compared with it.
    let fresh = staged::bare("web", "pre-fork", "r", 4);
    let mut report = staged::report(&fresh);
    report.parent += 1;
    report.up = Duration::from_secs(1);
    screen.on_report(&report, at(10));
    assert_eq!(screen.rates.history(10).count(), 1);
}

#[test]
fn a_scoreboard_alone_tells_the_rate_of_the_children_that_are_there() {
    let mut screen = Screen::new(Means::BoardAlone, Palette::Plain, at(0));
    let mut picture = staged::board_only();
    screen.on_board(picture.clone(), at(0));
    picture.up += Duration::from_secs(2);
    picture.children[0].requests += 8;
    // The slot's next owner counts from nothing.
    picture.children[1].generation += 1;
    picture.children[1].requests = 2;
    screen.on_board(picture, at(2));
    assert_eq!(screen.rates.per_second(), Some(5.0));
}

#[test]
fn a_scoreboard_beside_a_daemon_that_answers_is_not_looked_at() {
    let mut screen = of_daemon(&staged::busy());
    screen.on_board(staged::bare("x", "pre-fork", "w", 2), at(12));
    assert_eq!(slots(&screen).len(), 14);
    screen.on_lost("it hangs".to_owned(), at(13));
    screen.on_board(staged::bare("x", "pre-fork", "w", 2), at(14));
    assert_eq!(slots(&screen).len(), 1);
    assert!(painted(&mut screen, 80, 24).contains("web"), "its name is still known");
}
