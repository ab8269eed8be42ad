//! A tree of lines with the branches drawn.

use std::io;

use super::{line, words};

/// A node: one line, lines that belong to it, and the nodes below it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its line.
    pub label: String,
    /// Further lines about the same thing.
    pub notes: Vec<String>,
    /// What is below.
    pub children: Vec<Node>,
}

impl Node {
    /// Prints it on stdout.
    pub fn print(&self) -> io::Result<()> {
        self.lines().into_iter().try_for_each(line)
    }

    /// Its lines, branches included.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        // Depth is bounded by data from a server; a stack of our own cannot overflow.
        let mut open = vec![(self, String::new(), String::new())];
        while let Some((node, first, rest)) = open.pop() {
            lines.push(format!("{}{}", branch(&first), node.label));
            let below = if node.children.is_empty() { "  " } else { "│ " };
            lines
                .extend(node.notes.iter().map(|note| format!("{}{note}", branch(&format!("{rest}{below}")))));
            let last = node.children.len().saturating_sub(1);
            for (index, child) in node.children.iter().enumerate().rev() {
                let (turn, further) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                open.push((child, format!("{rest}{turn}"), format!("{rest}{further}")));
            }
        }
        lines
    }
}

fn branch(drawn: &str) -> String {
    if drawn.is_empty() { String::new() } else { words::faint(drawn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(label: &str) -> Node {
        Node { label: label.to_owned(), ..Node::default() }
    }

    #[test]
    fn branches_join_what_belongs_together() {
        let mut root = leaf("checkout");
        root.notes.push("took 3 ms".to_owned());
        let mut event = leaf("purchase_complete");
        event.children = vec![leaf("ledger"), leaf("notify")];
        event.children[1].notes.push("two attempts".to_owned());
        root.children = vec![event, leaf("audit")];
        let plain = root
            .lines()
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect::<Vec<_>>();
        assert_eq!(
            plain,
            [
                "checkout",
                "│ took 3 ms",
                "├─ purchase_complete",
                "│  ├─ ledger",
                "│  └─ notify",
                "│       two attempts",
                "└─ audit"
            ]
        );
    }
}
