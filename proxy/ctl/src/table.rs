//! Tables for the terminal, from what a server answers to a simple query.

use tokio_postgres::SimpleQueryMessage;

/// Rows under their columns' names, aligned, each line indented.
pub(crate) fn render(messages: &[SimpleQueryMessage], indent: &str) -> String {
    let mut names = Vec::new();
    let mut lines = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                names = columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
            }
            SimpleQueryMessage::Row(row) => {
                let cell = |at| {
                    row.try_get(at)
                        .ok()
                        .flatten()
                        .unwrap_or("")
                        .replace('\n', " ")
                };
                lines.push((0..row.len()).map(cell).collect());
            }
            _ => {}
        }
    }
    align(&names, &lines, indent)
}

fn align(names: &[String], lines: &[Vec<String>], indent: &str) -> String {
    let width = |cell: Option<&String>| cell.map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..names.len())
        .map(|at| {
            lines
                .iter()
                .map(|line| width(line.get(at)))
                .chain([width(names.get(at))])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = String::new();
    for line in [names, &rule]
        .into_iter()
        .chain(lines.iter().map(Vec::as_slice))
    {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        text.push_str(format!("{indent}{}", cells.join("  ")).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned() {
        let line = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = super::align(
            &line(["a", "name"]),
            &[line(["long", "ü"]), line(["", "x"])],
            "  ",
        );
        assert_eq!(text, "  a     name\n  ----  ----\n  long  ü\n        x\n");
    }
}
