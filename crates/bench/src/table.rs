//! The output: figures, progress, the table at the end, and the same data as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use bench_server::Measured;

/// A measurement, the figure that it is compared with, and its bar, which is the required value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The name of the benchmark.
    pub(crate) bench: &'static str,
    /// The measured quantity.
    pub(crate) name: String,
    /// The unit.
    pub(crate) unit: &'static str,
    /// Our figure, which is that of the measured daemon or manager of this project. For repeated
    /// measurements, this is the median.
    pub(crate) ours: f64,
    /// What our figure is compared with, if anything: a limit, which is a program that does only
    /// the necessary work, a peer, which is another product, or our own figure under a smaller
    /// load.
    pub(crate) limit: Option<Limit>,
    /// Our figure divided by that of the limit or peer.
    pub(crate) ratio: Option<f64>,
    /// The bar, if there is one.
    pub(crate) bar: Option<Bar>,
    /// Whether the bar holds; `None` without a bar.
    pub(crate) holds: Option<bool>,
    /// Additional information.
    pub(crate) note: String,
    /// The number of failed requests.
    #[serde(skip)]
    failed: u64,
}

/// The figure of a limit or peer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Limit {
    /// The name of the limit or peer.
    pub(crate) of: &'static str,
    /// The figure.
    pub(crate) figure: f64,
}

/// A bar: the required value of our figure, or of its ratio to the figure of the limit or peer.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bar {
    /// The ratio must be at least this.
    RatioAtLeast(f64),
    /// The ratio must be at most this.
    RatioAtMost(f64),
    /// Our figure must be at most this.
    AtMost(f64),
    /// Our figure must be at least this.
    AtLeast(f64),
}

impl Row {
    /// Creates a row with our figure, without a limit and without a bar.
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
            failed: 0,
        }
    }

    /// Creates a row with the median of repeated measurements, and their range as a note.
    pub(crate) fn median(
        bench: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
    ) -> Row {
        Row::new(bench, name, unit, median(ours)).note(span(ours))
    }

    /// Sets the figure of the limit or peer, and the ratio to it.
    pub(crate) fn against(mut self, of: &'static str, figure: f64) -> Row {
        self.limit = Some(Limit { of, figure });
        self.ratio = Some(self.ours / figure);
        self
    }

    /// Sets the bar, and whether it holds: not if requests have failed. A bar for a ratio holds
    /// only if the limit or peer was set before.
    pub(crate) fn bar(mut self, bar: Bar) -> Row {
        self.bar = Some(bar);
        let holds = match bar {
            Bar::RatioAtLeast(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Bar::RatioAtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Bar::AtMost(most) => self.ours <= most,
            Bar::AtLeast(least) => self.ours >= least,
        };
        self.holds = Some(holds && self.failed == 0);
        self
    }

    /// Sets the number of failed requests. Call this method before `bar`.
    pub(crate) fn failed(mut self, requests: u64) -> Row {
        self.failed = requests;
        self
    }

    /// Adds information.
    pub(crate) fn note(mut self, note: impl AsRef<str>) -> Row {
        if !self.note.is_empty() {
            self.note.push_str(", ");
        }
        self.note.push_str(note.as_ref());
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

/// Returns the median; NaN if there are no figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let sorted = sorted(figures);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(middle), _) => *middle,
    }
}

/// Returns the range of the figures as text.
pub(crate) fn span(figures: &[f64]) -> String {
    let sorted = sorted(figures);
    let end = |figure: Option<&f64>| figure.map_or("none".to_owned(), |end| self::figure(*end));
    format!("{} to {}", end(sorted.first()), end(sorted.last()))
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn figure(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Prints the figures of one benchmark before the next one runs.
pub(crate) fn preview(rows: &[Row]) {
    for row in rows {
        let ratio = row.ratio.map_or(String::new(), |ratio| format!(", ratio {}", figure(ratio)));
        say(&format!("  {}: {} {}{ratio}", row.name, figure(row.ours), row.unit));
    }
}

/// Prints the table to standard output.
#[expect(clippy::print_stdout, reason = "the table is the output of this program")]
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

/// Writes the rows as JSON, and returns the path of the file.
pub(crate) fn write(rows: &[Row]) -> Measured<PathBuf> {
    let path = directory()?.join("results.json");
    fs::write(&path, serde_json::to_string_pretty(rows)? + "\n")?;
    Ok(path)
}

/// Returns the directory for the results, `target/bench` in the workspace. Creates it if necessary.
pub(crate) fn directory() -> Measured<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = workspace.canonicalize()?.join("target/bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Prints progress to standard error.
#[expect(clippy::print_stderr, reason = "it prints progress")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_holds_at_exactly_its_value_and_not_beyond() {
        let row = |ours| Row::new("x", "x", "s", ours).against("bare", 100.0);
        assert_eq!(row(75.0).bar(Bar::RatioAtLeast(0.75)).holds, Some(true));
        assert_eq!(row(74.0).bar(Bar::RatioAtLeast(0.75)).holds, Some(false));
        assert_eq!(row(131.0).bar(Bar::RatioAtMost(1.3)).holds, Some(false));
        assert_eq!(row(2.0).bar(Bar::AtMost(2.0)).holds, Some(true));
    }

    #[test]
    fn a_bar_does_not_hold_if_requests_failed() {
        let row = |failed| Row::new("x", "x", "s", 1.0).failed(failed);
        assert_eq!(row(0).bar(Bar::AtMost(2.0)).holds, Some(true));
        assert_eq!(row(1).bar(Bar::AtMost(2.0)).holds, Some(false));
        assert_eq!(row(1).holds, None);
    }

    #[test]
    fn a_bar_for_a_ratio_does_not_hold_without_a_limit_or_peer() {
        let row = Row::new("x", "x", "s", 1.0);
        assert_eq!(row.clone().bar(Bar::RatioAtMost(1.3)).holds, Some(false));
        assert_eq!(row.bar(Bar::RatioAtLeast(0.1)).holds, Some(false));
    }

    #[test]
    fn each_column_is_as_wide_as_its_widest_cell() {
        let rows = [Row::new("x", "a long name", "ms", 1.5).bar(Bar::AtMost(2.0))];
        let table = lay_out(&rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0].find("ours"), lines[1].find("1.50 ms"));
        assert!(lines[1].ends_with("<= 2 ms  yes"));
    }

    #[test]
    fn the_median_does_not_depend_on_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_range_covers_all_figures() {
        assert_eq!(span(&[3.0, 100.0, 2.0]), "2.00 to 100");
    }
}
