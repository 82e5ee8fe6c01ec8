//! A document's text as HTML that is safe to show: CommonMark with tables and strikethrough.
//!
//! Two walls: what is made of the text is made of a few tags only, and what comes of that is
//! cleaned by a list of its own. Markup in the text is shown, not obeyed: a parser of HTML takes
//! quadratic time for some of it. Images become links: whoever reads a page tells no other server
//! so. What is nested deeper than [`DEPTH_MAX`] is flat, and a text longer than [`BYTES_MAX`] is
//! shown as it is, so that time and memory grow with the text's length and no faster.

use std::collections::{HashMap, HashSet};

use ammonia::Builder;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// The longest text that is taken as Markdown, in bytes.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// How deep lists, quotations and the like may be nested in each other.
const DEPTH_MAX: usize = 32;

/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;

/// What a text becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Its first heading as plain text, if it has one.
    pub(crate) title: Option<String>,
    /// The HTML.
    pub(crate) body: String,
}

/// Returns a text as HTML.
pub(crate) fn render(text: &str) -> Rendered {
    if text.len() > BYTES_MAX {
        let body = format!("<pre class=\"plain\">{}</pre>", escaped(text));
        return Rendered { title: None, body };
    }
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let (mut tamer, mut unclean) = (Tamer::default(), String::new());
    let events = Parser::new_ext(text, options).filter_map(|event| tamer.tame(event));
    html::push_html(&mut unclean, events);
    let title = tamer.title.filter(|title| !title.is_empty());
    Rendered { title, body: cleaner().clean(&unclean).to_string() }
}

/// Spells text in HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => spelled.push_str("&amp;"),
            '<' => spelled.push_str("&lt;"),
            '>' => spelled.push_str("&gt;"),
            '"' => spelled.push_str("&quot;"),
            // The one character that HTML has no spelling for.
            '\0' => spelled.push(char::REPLACEMENT_CHARACTER),
            c => spelled.push(c),
        }
    }
    spelled
}

/// Looks at the events of a parser one after the other, and lets those through that a page may
/// have.
#[derive(Default)]
struct Tamer {
    /// How deep the event is nested.
    depth: usize,
    /// How many links it is in, of which the outermost is one.
    links: usize,
    /// The text of the first heading, while it comes.
    heading: Option<String>,
    /// The same, when it is over.
    title: Option<String>,
}

impl Tamer {
    fn tame<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => Some(self.text(text)),
            Event::Code(code) => {
                self.note(&code);
                Some(Event::Code(code))
            }
            Event::Html(markup) | Event::InlineHtml(markup) => Some(self.text(markup)),
            Event::SoftBreak | Event::HardBreak | Event::Rule => {
                self.note(" ");
                Some(event)
            }
            // Of what is not asked for, nothing comes.
            Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => None,
        }
    }

    fn start<'a>(&mut self, tag: Tag<'a>) -> Option<Event<'a>> {
        self.depth += 1;
        let tag = match tag {
            Tag::Image { link_type, dest_url, title, id } => {
                Tag::Link { link_type, dest_url, title, id }
            }
            Tag::HtmlBlock => Tag::Paragraph,
            // A heading's attributes are not asked for; a name for links could be any element's.
            Tag::Heading { level, .. } => {
                if self.title.is_none() && self.heading.is_none() {
                    self.heading = Some(String::new());
                }
                Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() }
            }
            tag => tag,
        };
        if matches!(tag, Tag::Link { .. }) {
            self.links += 1;
            if self.links > 1 {
                return None;
            }
        }
        (self.depth <= DEPTH_MAX).then_some(Event::Start(tag))
    }

    fn end<'a>(&mut self, tag: TagEnd) -> Option<Event<'a>> {
        let depth = self.depth;
        self.depth = depth.saturating_sub(1);
        let tag = match tag {
            TagEnd::Image => TagEnd::Link,
            TagEnd::HtmlBlock => TagEnd::Paragraph,
            TagEnd::Heading(level) => {
                if let Some(heading) = self.heading.take() {
                    self.title = Some(heading.trim().to_owned());
                }
                TagEnd::Heading(level)
            }
            tag => tag,
        };
        if tag == TagEnd::Link {
            self.links = self.links.saturating_sub(1);
            if self.links > 0 {
                return None;
            }
        }
        (depth <= DEPTH_MAX).then_some(Event::End(tag))
    }

    fn text<'a>(&mut self, text: CowStr<'a>) -> Event<'a> {
        self.note(&text);
        Event::Text(text)
    }

    fn note(&mut self, text: &str) {
        if let Some(heading) = &mut self.heading {
            let room = TITLE_CHARS_MAX.saturating_sub(heading.chars().count());
            heading.extend(text.chars().filter(|c| !c.is_control()).take(room));
        }
    }
}

/// Returns what lets through the tags that are made here, and nothing else.
fn cleaner() -> Builder<'static> {
    let tags = [
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ];
    let attributes =
        HashMap::from([("a", HashSet::from(["href", "title"])), ("ol", HashSet::from(["start"]))]);
    let mut cleaner = Builder::new();
    cleaner
        .tags(HashSet::from(tags))
        .tag_attributes(attributes)
        .generic_attributes(HashSet::new())
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("noopener nofollow"));
    cleaner
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, body: &str) {
        assert_eq!(render(text).body.trim(), body, "{text}");
    }

    #[test]
    fn markdown_becomes_html() {
        check(
            "a *b* **c** ~~d~~ `e<f`",
            "<p>a <em>b</em> <strong>c</strong> <del>d</del> \
            <code>e&lt;f</code></p>",
        );
        check("3. x\n4. y", "<ol start=\"3\">\n<li>x</li>\n<li>y</li>\n</ol>");
        check("> q\n\n---", "<blockquote>\n<p>q</p>\n</blockquote>\n<hr>");
        check("```js\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>");
        check(
            "|a|\n|-|\n|b|",
            "<table><thead><tr><th>a</th></tr></thead><tbody>\n\
            <tr><td>b</td></tr>\n</tbody></table>",
        );
        let rel = "rel=\"noopener nofollow\"";
        check(
            "[a](https://b.example \"t\")",
            &format!(
                "<p><a href=\"https://b.example\" \
            title=\"t\" {rel}>a</a></p>"
            ),
        );
        check("[a](other)", &format!("<p><a href=\"other\" {rel}>a</a></p>"));
    }

    #[test]
    fn nothing_is_run_or_fetched() {
        check("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
        check("a <b onclick=x>b</b>", "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>");
        check("<style>a{}</style>", "<p>&lt;style&gt;a{}&lt;/style&gt;</p>");
        for bad in
            ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "file:///x"]
        {
            check(&format!("[a]({bad})"), "<p><a rel=\"noopener nofollow\">a</a></p>");
        }
        let rel = "rel=\"noopener nofollow\"";
        check(
            "![a](https://b.example/i.png)",
            &format!(
                "<p><a href=\"https://b.example/i.png\" \
            {rel}>a</a></p>"
            ),
        );
        check(
            "[![a](i.png)](x) [b ![c [d](e) f](g)](h)",
            &format!(
                "<p><a href=\"x\" {rel}>a</a> \
            [b <a href=\"g\" {rel}>c d f</a>](h)</p>"
            ),
        );
        check("# a {#id .class onclick=x}", "<h1>a {#id .class onclick=x}</h1>");
    }

    #[test]
    fn the_first_heading_is_the_title() {
        let title = |text: &str| render(text).title;
        assert_eq!(title("x\n\n## A *b* `c` <i>\n\n# D"), Some("A b c <i>".to_owned()));
        assert_eq!(title("Two\nlines\n==="), Some("Two lines".to_owned()));
        assert_eq!(title("x"), None);
        assert_eq!(title("#\n\n# later"), None, "an empty heading is the first");
        assert_eq!(title(&format!("# {}", "é".repeat(300))).map(|t| t.chars().count()), Some(200));
    }

    #[test]
    fn what_is_nested_too_deep_is_flat() {
        let body = render(&format!("{} x", ">".repeat(10_000))).body;
        assert_eq!(body.matches("<blockquote>").count(), DEPTH_MAX);
        assert!(body.contains('x'));
        let body = render(&format!("{}x", "- ".repeat(10_000))).body;
        assert!(body.matches("<ul>").count() <= DEPTH_MAX && body.contains('x'));
    }

    #[test]
    fn what_is_too_long_is_shown_as_it_is() {
        let body = render(&"<i>\0".repeat(BYTES_MAX / 4 + 1)).body;
        assert!(body.starts_with("<pre class=\"plain\">&lt;i&gt;\u{fffd}&lt;"));
        assert!(body.ends_with("</pre>") && !body.contains("<i>"));
        assert!(render(&"#".repeat(BYTES_MAX)).body.starts_with("<p>"));
    }

    proptest! {
        #[test]
        fn whatever_is_written_only_the_tags_of_the_list_come(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "<", ">", "/", "script", "img", " src=x", " onerror=y", "[", "]", "(", ")", "!",
                "*", "_", "`", "\n", "\n\n", "> ", "- ", "1. ", "# ", "|", "|-|\n", "&lt;", "\"",
                "'",
                "javascript:", "https://a.example", "<a href=", "<!--", "-->", "\\", "~~", "\0",
                "\u{202e}", "x", "    ",
            ]), 0..60)
        ) {
            let body = render(&pieces.concat()).body;
            for part in body.split('<').skip(1) {
                let name = part.trim_start_matches('/');
                let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
                let known = cleaner().clone_tags().contains(&*name);
                prop_assert!(known, "<{part} in {body}");
                let tag = part.split('>').next().unwrap_or_default();
                prop_assert!(!tag.contains(" on") && !tag.contains("=\"javascript:"), "{tag}");
            }
        }
    }
}
