"""Answers queries. Everything they need was loaded with the module, before the first request: see corpus.py."""

import json
import math
import operator
import re
from bisect import bisect_left
from itertools import islice

import corpus

BEST = 10
LINES = 100
HITS = 200  # Lines of a file that are looked at for the best.
LINE_BYTES = 200


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    if event["rawPath"] == "/grep":
        return answer(grep(query.get("re", "")))
    return answer(search(query.get("q", "")))


def answer(found):
    status = 400 if "error" in found else 200
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(found) + "\n"}


def search(text):
    """Files with all the words, the best first (BM25 without length normalisation: code has no typical length)."""
    words = sorted({word.lower() for word in re.findall(rb"\w{3,}", text.encode())})
    if not words:
        return {"error": "q has no word of at least three letters"}
    # The rarest word first: a file that has not got it need not be looked at again.
    words.sort(key=lambda word: operator.sub(*reversed(postings(word))))
    scores = None
    for begin, end in map(postings, words):
        rarity = math.log(1 + len(corpus.FILES) / (end - begin or 1))
        counts = zip(corpus.DOCUMENTS[begin:end], corpus.COUNTS[begin:end], strict=True)
        if scores is None:
            scores = {document: rarity * gain(count) for document, count in counts}
        else:
            scores = {d: scores[d] + rarity * gain(count) for d, count in counts if d in scores}
    best = sorted(scores, key=lambda document: (-scores[document], document))[:BEST]
    return {"files": len(scores), "best": [excerpt(document, words) for document in best]}


def gain(count):
    return count * 2.2 / (count + 1.2)


def postings(word):
    """Where the word's list begins and ends; an empty range when no file has it."""
    at = bisect_left(corpus.WORDS, word)
    if at == len(corpus.WORDS) or corpus.WORDS[at] != word:
        return 0, 0
    return corpus.LISTS[at], corpus.LISTS[at + 1]


def excerpt(document, words):
    """Of the lines with the first word the one with most of the others, the first of those."""
    best = (0, None)
    pattern = re.compile(rb"\b" + re.escape(words[0]) + rb"\b", re.IGNORECASE)
    for hit in islice(pattern.finditer(corpus.TEXT, *corpus.span(document)), HITS):
        line = corpus.line_of(document, hit.start())
        text = corpus.TEXT[line[1] : line[2]].lower()
        best = max(best, (sum(word in text for word in words), line), key=lambda found: found[0])
    return shown(document, best[1])


def grep(pattern):
    """The first lines that match anywhere in the text."""
    try:
        wanted = re.compile(pattern.encode(), re.MULTILINE)
    except re.error as error:
        return {"error": f"re is no regular expression: {error}"}
    if not pattern:
        return {"error": "re is empty"}
    lines, last = [], None
    for hit in wanted.finditer(corpus.TEXT):
        document = corpus.document_at(hit.start())
        line = corpus.line_of(document, hit.start())
        if line != last:
            lines.append(shown(document, line))
            last = line
        if len(lines) == LINES:
            break
    return {"bytes": len(corpus.TEXT), "lines": lines}


def shown(document, line):
    number, begin, end = line
    text = corpus.TEXT[begin : min(end, begin + LINE_BYTES)].decode("utf-8", "replace").strip()
    return {"file": corpus.FILES[document].decode(), "line": number, "text": text}
