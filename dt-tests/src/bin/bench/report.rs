//! The table of figures, and the medians in it.

use dt_tests::usage::Usage;

/// What one tool cost in each of its runs.
pub(crate) struct Measured {
    pub(crate) tool: &'static str,
    pub(crate) runs: Vec<Usage>,
}

impl Measured {
    /// Each figure's own median; of an even number of runs, the worse of the two in the middle.
    pub(crate) fn median(&self) -> Usage {
        fn middle<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
            let mut values: Vec<T> = values.collect();
            values.sort();
            values.get(values.len() / 2).copied()
        }
        Usage {
            wall: middle(self.runs.iter().map(|run| run.wall)).unwrap_or_default(),
            cpu: middle(self.runs.iter().map(|run| run.cpu)).unwrap_or_default(),
            peak_memory: middle(self.runs.iter().map(|run| run.peak_memory)).unwrap_or_default(),
        }
    }
}

/// The lines of the table, of so many rows or whatever `unit` is; the first tool is what the others are compared with.
pub(crate) fn table(title: &str, unit: &str, rows: u64, tools: &[Measured]) -> Vec<String> {
    let mut lines = vec![
        format!("\n{title}"),
        format!(
            "{:<32}{:>10}{:>8}{:>10}{:>8}{:>12}{:>10}",
            "tool",
            format!("{unit}/s"),
            "ratio",
            "seconds",
            "CPU s",
            "CPU s/1M",
            "peak MiB"
        ),
    ];
    let first = tools.first().map(|tool| tool.median().wall.as_secs_f64()).unwrap_or_default();
    for tool in tools {
        let median = tool.median();
        let (wall, cpu) = (median.wall.as_secs_f64(), median.cpu.as_secs_f64());
        lines.push(format!(
            "{:<32}{:>10.0}{:>8.2}{wall:>10.2}{cpu:>8.2}{:>12.2}{:>10.1}",
            tool.tool,
            rows as f64 / wall,
            first / wall,
            cpu * 1e6 / rows as f64,
            median.peak_memory as f64 / 1048576.0,
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure_and_the_ratio_is_of_speeds() {
        let run = |seconds, cpu| Usage {
            wall: Duration::from_secs(seconds),
            cpu: Duration::from_secs(cpu),
            peak_memory: 1 << 20,
        };
        let slow = Measured { tool: "slow", runs: vec![run(10, 3), run(30, 1), run(20, 2)] };
        let fast = Measured { tool: "fast", runs: vec![run(5, 1)] };
        assert_eq!(slow.median(), run(20, 2));
        let lines = table("data", "rows", 1_000_000, &[slow, fast]);
        assert!(lines[2].contains("50000") && lines[2].contains("1.00"), "{}", lines[2]);
        assert!(lines[3].contains("200000") && lines[3].contains("4.00"), "{}", lines[3]);
    }
}
