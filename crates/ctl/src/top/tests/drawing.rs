//! The picture of the screen in the README: drawn from the screen as it is, so that the two cannot
//! drift apart.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::super::screen::{Means, Palette, Screen};
use super::super::staged;
use super::{at, drawn_on, look_on};

const WIDTH: u16 = 96;
const HEIGHT: u16 = 26;
/// Of a cell, in the picture's units.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 14.0;
const PAPER: &str = "#16181d";
const INK: &str = "#d5d8de";

/// `UPDATE_DRAWING=1 cargo test -p daemonctl` draws it anew. The README is not part of the packaged crate;
/// there is then nothing to compare.
#[test]
fn the_picture_in_the_readme_is_the_screen() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/top.svg");
    let mut screen = Screen::new(Means::Daemon, Palette::Colours, at(0));
    look_on(&mut screen, &staged::busy());
    let drawn = drawing(drawn_on(&mut screen, WIDTH, HEIGHT).buffer());
    if std::env::var_os("UPDATE_DRAWING").is_some() {
        std::fs::write(path, &drawn).expect("the picture can be written");
    }
    let Ok(kept) = std::fs::read_to_string(path) else { return };
    assert!(kept == drawn, "docs/top.svg is not the screen: UPDATE_DRAWING=1 draws it anew");
}

/// The screen as SVG: a line of text a row, a piece of it for each run of one style.
fn drawing(buffer: &Buffer) -> String {
    let width = f64::from(buffer.area.width) * CELL.0 + 2.0 * MARGIN;
    let height = f64::from(buffer.area.height) * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\">\n<title>daemonctl top over a busy pool</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n"
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
    let ink = ink(style.fg.unwrap_or(Color::Reset));
    let ink = if reversed {
        let height = CELL.1;
        writeln!(svg, "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{height}\" fill=\"{ink}\"/>")
            .expect("a string takes all");
        PAPER
    } else {
        ink
    };
    let bold = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let dim = if modifier.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let y = top + CELL.1 * 0.75;
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" fill=\"{ink}\"{bold}{dim}>{text}</text>"
    )
    .expect("a string takes all");
}

/// What a terminal makes of the colours that the screen has; of any other, what it has for text.
fn ink(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#f47067",
        Color::Green => "#6bc46d",
        Color::Yellow => "#e5c07b",
        Color::Magenta => "#c678dd",
        Color::Cyan => "#56b6c2",
        _ => INK,
    }
}
