"""A report taken apart again."""

from html.parser import HTMLParser

from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.report.html import Appendix, report_html
from pretextbench.report.recommend import recommendation_md

PARAMS = Compare(resamples=500)
PLAIN = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags that close in order, their attributes, and the text of each section."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sections, self.section = [], [], {}, None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"]

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        self.sections[self.section] = self.sections.get(self.section, "") + data

    def having(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def report(results, comparison=None, recommendation=None, **further):
    comparison = comparison or compare(results, PARAMS)
    return report_html(comparison, results, recommendation or recommendation_md(comparison), Appendix(**further))
