//! What is told: progress while it runs, the table at the end, the same as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Measured;

/// One measurement, what it is held against, and its bar.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The bench that it is of.
    pub(crate) bench: &'static str,
    /// What was measured.
    pub(crate) name: String,
    /// In what it is counted.
    pub(crate) unit: &'static str,
    /// Our figure: a median.
    pub(crate) ours: f64,
    /// What it is held against, if it is.
    pub(crate) limit: Option<Limit>,
    /// Ours by the limit's.
    pub(crate) ratio: Option<f64>,
    /// What is to be reached.
    pub(crate) bar: Option<Bar>,
    /// Whether it is.
    pub(crate) holds: Option<bool>,
    /// What else there is to know.
    pub(crate) note: String,
}

/// The figure that ours is held against.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Limit {
    /// Whose it is.
    pub(crate) of: &'static str,
    /// The figure.
    pub(crate) figure: f64,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// Ours by the limit's, at least.
    RatioAtLeast(f64),
    /// Ours by the limit's, at most.
    RatioAtMost(f64),
    /// Ours, at most.
    AtMost(f64),
    /// Ours, at least.
    AtLeast(f64),
}

impl Row {
    /// A figure of ours, held against nothing yet.
    pub(crate) fn new(
        bench: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
    ) -> Row {
        Row {
            bench,
            name: name.into(),
            unit,
            ours,
            limit: None,
            ratio: None,
            bar: None,
            holds: None,
            note: String::new(),
        }
    }

    /// Holds it against this figure.
    pub(crate) fn against(mut self, of: &'static str, figure: f64) -> Row {
        self.limit = Some(Limit { of, figure });
        self.ratio = Some(self.ours / figure);
        self
    }

    /// Sets the bar. Without a figure to be held against no bar of a ratio is reached.
    pub(crate) fn bar(mut self, bar: Bar) -> Row {
        self.bar = Some(bar);
        self.holds = Some(match bar {
            Bar::RatioAtLeast(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Bar::RatioAtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Bar::AtMost(most) => self.ours <= most,
            Bar::AtLeast(least) => self.ours >= least,
        });
        self
    }

    /// Takes into account how many requests failed: with one of them no bar is reached.
    pub(crate) fn failed(mut self, requests: u64) -> Row {
        if requests > 0 {
            self.holds = self.holds.map(|_reached| false);
        }
        self
    }

    /// Adds what else there is to know.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    fn cells(&self) -> [String; 7] {
        let limit = self.limit.as_ref();
        [
            self.name.clone(),
            format!("{} {}", figure(self.ours), self.unit),
            limit.map_or(String::new(), |limit| format!("{} ({})", figure(limit.figure), limit.of)),
            self.ratio.map_or(String::new(), figure),
            self.bar.map_or(String::new(), |bar| match bar {
                Bar::RatioAtLeast(least) => format!(">= {least} x"),
                Bar::RatioAtMost(most) => format!("<= {most} x"),
                Bar::AtMost(most) => format!("<= {most} {}", self.unit),
                Bar::AtLeast(least) => format!(">= {least} {}", self.unit),
            }),
            match self.holds {
                None => String::new(),
                Some(true) => "yes".to_owned(),
                Some(false) => "NO".to_owned(),
            },
            self.note.clone(),
        ]
    }
}

fn figure(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Tells the figures of one bench while others are still to come.
pub(crate) fn preview(rows: &[Row]) {
    for row in rows {
        let ratio = row.ratio.map_or(String::new(), |ratio| format!(", ratio {}", figure(ratio)));
        say(&format!("  {}: {} {}{ratio}", row.name, figure(row.ours), row.unit));
    }
}

/// Prints the table to standard output.
#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) fn print(rows: &[Row]) {
    print!("{}", lay_out(rows));
}

fn lay_out(rows: &[Row]) -> String {
    let head = ["what", "ours", "limit or peer", "ratio", "bar", "holds", ""].map(str::to_owned);
    let cells: Vec<[String; 7]> = [head].into_iter().chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let mut table = String::new();
    for row in &cells {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ", width = width(column));
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// Writes the rows as JSON, and answers with the file's path.
pub(crate) fn write(rows: &[Row]) -> Measured<PathBuf> {
    let path = directory()?.join("results.json");
    fs::write(&path, serde_json::to_string_pretty(rows)? + "\n")?;
    Ok(path)
}

/// The directory for what this program leaves behind: `target/bench` of the workspace.
pub(crate) fn directory() -> Measured<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = workspace.canonicalize()?.join("target/bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Tells on standard error what goes on.
#[expect(clippy::print_stderr, reason = "it tells who waits what goes on")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_on_its_edge_and_not_past_it() {
        let row = |ours| Row::new("x", "x", "s", ours).against("bare", 100.0);
        assert_eq!(row(75.0).bar(Bar::RatioAtLeast(0.75)).holds, Some(true));
        assert_eq!(row(74.0).bar(Bar::RatioAtLeast(0.75)).holds, Some(false));
        assert_eq!(row(131.0).bar(Bar::RatioAtMost(1.3)).holds, Some(false));
        assert_eq!(row(2.0).bar(Bar::AtMost(2.0)).holds, Some(true));
    }

    #[test]
    fn no_bar_holds_where_requests_failed() {
        let row = Row::new("x", "x", "s", 1.0).bar(Bar::AtMost(2.0));
        assert_eq!(row.clone().failed(0).holds, Some(true));
        assert_eq!(row.failed(1).holds, Some(false));
        assert_eq!(Row::new("x", "x", "s", 1.0).failed(1).holds, None);
    }

    #[test]
    fn without_a_limit_no_ratio_is_reached() {
        let row = Row::new("x", "x", "s", 1.0);
        assert_eq!(row.clone().bar(Bar::RatioAtMost(1.3)).holds, Some(false));
        assert_eq!(row.bar(Bar::RatioAtLeast(0.1)).holds, Some(false));
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [Row::new("x", "a long name", "ms", 1.5).bar(Bar::AtMost(2.0))];
        let table = lay_out(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].find("ours"), lines[1].find("1.50 ms"));
        assert!(lines[1].ends_with("<= 2 ms  yes"));
    }
}
