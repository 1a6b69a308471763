//! Generates the image of `daemonctl top` that the README shows, and checks that the image is up to
//! date.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::super::fixtures;
use super::super::screen::{Screen, SourceKind};
use super::{answer_three_times, at, draw};
use crate::events::ColorMode;

const WIDTH: u16 = 96;
const HEIGHT: u16 = 26;
/// The width and height of a cell in SVG units.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 14.0;
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d5d8de";

/// `UPDATE_DRAWING=1 cargo test -p daemonctl` updates the image. In the packaged crate, which does
/// not contain docs/, the test does nothing.
#[test]
fn docs_top_svg_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/top.svg");
    let mut screen = Screen::new(SourceKind::Daemon, ColorMode::Color, at(0));
    answer_three_times(&mut screen, &fixtures::busy());
    let drawn = svg_of(draw(&mut screen, WIDTH, HEIGHT).buffer());
    if std::env::var_os("UPDATE_DRAWING").is_some() {
        std::fs::write(path, &drawn).expect("docs/top.svg is writable");
    }
    let Ok(stored) = std::fs::read_to_string(path) else { return };
    assert!(stored == drawn, "docs/top.svg is out of date: UPDATE_DRAWING=1 updates it");
}

/// Returns the screen as SVG: a text element for each run of cells with the same style.
fn svg_of(buffer: &Buffer) -> String {
    let width = f64::from(buffer.area.width) * CELL.0 + 2.0 * MARGIN;
    let height = f64::from(buffer.area.height) * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\">\n<title>daemonctl top with a busy pool</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..buffer.area.height {
        let cells: Vec<&Cell> =
            (0..buffer.area.width).map(|column| &buffer[(column, row)]).collect();
        let mut column = 0;
        for run in cells.chunk_by(|one, next| one.style() == next.style()) {
            draw_run(&mut svg, run, column, row);
            column += run.len();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_run(svg: &mut String, run: &[&Cell], column: usize, row: u16) {
    let text: String = run.iter().map(|cell| cell.symbol()).collect();
    let style = run[0].style();
    let modifier = style.add_modifier;
    let reversed = modifier.contains(Modifier::REVERSED);
    if text.trim().is_empty() && !reversed {
        return;
    }
    let x = column as f64 * CELL.0 + MARGIN;
    let top = f64::from(row) * CELL.1 + MARGIN;
    let length = run.len() as f64 * CELL.0;
    let color = color_of(style.fg.unwrap_or(Color::Reset));
    let color = if reversed {
        let height = CELL.1;
        writeln!(svg, "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{height}\" fill=\"{color}\"/>")
            .expect("writing to a string succeeds");
        BACKGROUND
    } else {
        color
    };
    let bold = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let dim = if modifier.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let y = top + CELL.1 * 0.75;
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" fill=\"{color}\"{bold}{dim}>{text}</text>"
    )
    .expect("writing to a string succeeds");
}

/// Returns the RGB value for a colour. Returns [`FOREGROUND`] for a colour that is not listed here.
fn color_of(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#f47067",
        Color::Green => "#6bc46d",
        Color::Yellow => "#e5c07b",
        Color::Magenta => "#c678dd",
        Color::Cyan => "#56b6c2",
        _ => FOREGROUND,
    }
}
