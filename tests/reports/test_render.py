"""The report says what is wrong, where and what next; and nothing of a submission's acts in it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import msgspec
import pytest

from grader.model import codec
from grader.model.details import Detail
from grader.model.measurements import plain, read
from grader.model.result import Finding, Result, Status, Submission
from grader.reports import render
from tests.reports import samples

# Elements and attributes that fetch, run or steer.
ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "img", "audio", "video", "input", "button"}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "{{ 7 * 191 }}{% include '/etc/passwd' %}",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x85",
    "ab\u202edc\u202c \u2066x\u2069 zero\u200bwidth \ufeff \U000e0041 \u2028",
    "lone \udc80 surrogate",
    "&amp; &lt;b&gt; ' \" `",
)


class Page(HTMLParser):
    """What a browser would see: elements, ids, links, and the text outside of <style>."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.style = self.text = ""
        self._in_style = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        if tag in {"th", "td", "dt", "dd", "span", "h2", "title", "strong"}:
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.text += data

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.elements if attribute in attributes]


def words(source: str) -> str:
    return " ".join(Page(source).text.split())


def report(name: str) -> str:
    return render(samples.SITUATIONS[name], samples.EXERCISE, samples.SOURCE)


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("no-gpu", "Correct; speed not measured"),
        ("wrong-tile", "Not correct yet"),
        ("race", "Not correct yet"),
        ("compile-error", "Does not compile"),
        ("grader-error", "The grader failed, not you"),
        ("passed", "Passed"),
        ("too-slow", "Correct, but too slow"),
        ("hang", "Not correct yet"),
        ("fp8-byte", "Not correct yet"),
    ],
)
def test_the_verdict_is_the_heading(name: str, headline: str) -> None:
    headings = re.findall(r"<h1>(.*?)</h1>", report(name))
    assert [html.unescape(h) for h in headings] == [headline]


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_every_report_is_one_inert_file(name: str) -> None:
    page = Page(report(name))
    assert not ACTIVE & {tag for tag, _ in page.elements}
    assert "style" not in {key for _, attributes in page.elements for key in attributes}
    assert all(link.startswith("#") or link == "data:," for link in page.values("href") + page.values("src"))
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert "url(" not in page.style
    assert "@import" not in page.style


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_ids_are_unique_and_links_arrive(name: str) -> None:
    page = Page(report(name))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href") if link.startswith("#")} <= set(ids)
    assert set(" ".join(page.values("aria-labelledby")).split()) <= set(ids)


@pytest.mark.parametrize("name", samples.SITUATIONS)
def test_the_policy_admits_the_style_sheet_and_nothing_else(name: str) -> None:
    page = Page(report(name))
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    policy = next(str(m["content"]) for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_finding_says_what_where_and_what_to_do() -> None:
    text = words(report("race"))
    assert "2 problems to fix. Start with: race between threads on line 33." in text
    assert samples.RACE.message in text
    assert "On line 33; seen in uniform, variable, imbalanced." in text
    assert "Put a __syncthreads() between the two accesses" in text
    assert "Hint: Missing synchronization A thread reads tile elements that other threads stored" in text


def test_how_often_is_told_where_it_is_the_same_tomorrow() -> None:
    assert "(1,216 times)" in words(report("race"))  # at the barrier
    assert "(64,512 times)" not in words(report("race"))


def test_a_finding_stands_beside_its_line() -> None:
    source = report("race")
    line = source.index('id="L33"')
    assert line < source.index('id="note-problem-1"') < source.index('id="L34"')
    assert "#note-problem-1{--row:33/span " in source
    assert re.search(r'<div class="line hit" id="L33">', source)
    assert '<a href="#L37">line 37</a>' in source  # the other side of the race


def test_hints_come_only_for_what_failed() -> None:
    assert "Next step" not in words(report("no-gpu"))
    assert "Not every thread reaches the barrier" not in words(report("wrong-tile"))


def test_one_mistake_in_two_cases_is_one_problem() -> None:
    text = words(report("wrong-tile"))
    assert "1 problem to fix: wrong result." in text
    assert text.count("Take the first wrong element") == 1
    assert "Seen in variable, imbalanced." in text


def test_speed_without_a_gpu_says_how_to_have_it_judged() -> None:
    text = words(report("no-gpu"))
    assert "speed (uniform, variable, imbalanced, small): no NVIDIA GPU." in text
    assert "Linux with an NVIDIA GPU" in text
    assert "52 of the 52 points that can be given here" in text
    assert "speed open, 40" in text
    assert "How fast" not in text  # nothing was timed, and no empty chart is drawn


def test_the_cases_are_rows_with_their_errors() -> None:
    text = words(report("wrong-tile"))
    assert "1,536 of 131,072 elements; largest error 4.71, allowed 0.001" in text
    assert "largest error NaN" in text
    assert text.index("uniform") < text.index("The other checks")


def test_speed_is_shown_with_its_interval_and_what_is_asked() -> None:
    text = words(report("too-slow"))
    assert "0.29 of cuBLAS streams (0.28 to 0.29); 7.49 TFLOPS" in text
    assert "imbalanced: 311 µs; at most 149 µs is allowed. cuBLAS takes 89.4 µs, so yours reaches 0.29 of its" in text
    assert (
        "only 2 of 4 cases are fast enough. The slowest is imbalanced, at 0.29 of cuBLAS's speed; 0.60 is required."
        in text
    )


def test_near_the_line_a_ratio_has_a_digit_more() -> None:
    assert "0.600 of cuBLAS streams (0.58 to 0.62), borderline" in words(report("borderline"))


def test_a_case_for_information_says_so() -> None:
    text = words(report("borderline"))
    assert "small, for information: at most 33.5 µs allowed" in text
    assert "1 of 3 cases is fast enough" in text


def test_speed_for_information_is_not_asked_for() -> None:
    unjudged = [msgspec.structs.replace(samples.speed(case), required=case == "small") for case in samples.CASES]
    result = msgspec.structs.replace(samples.SITUATIONS["no-gpu"], checks=(samples.COMPILED, *unjudged))
    assert "speed (small): no NVIDIA GPU." in words(render(result, samples.EXERCISE))


def test_the_chart_names_every_route_and_its_time() -> None:
    text = words(report("passed"))
    chart = text[text.index("uniform: at most 21.6 µs allowed; yours reaches 7.94 TFLOPS") :]
    rows = (
        "your kernel 8.45 µs 1.53×",
        "cuBLAS, strided batch 12.9 µs 1.00×",
        "cuBLAS, parallel streams 15.8 µs 0.82×",
        "cuBLAS, group by group 32.9 µs 0.39×",
        "cuBLAS, one grouped call 37.3 µs 0.35×",
        "cuBLAS, one matrix with as many FLOPs 8.28 µs 1.56×",
    )
    places = [chart.index(row) for row in rows]
    assert places == sorted(places)
    assert "best known kernel" not in text  # it was not measured


def test_a_reference_is_drawn_where_it_was_measured() -> None:
    result = samples.SITUATIONS["passed"]
    checks = [c.measured(best_known_us=5.0) if c.id == "speed[small]" else c for c in result.checks]
    text = words(render(msgspec.structs.replace(result, checks=tuple(checks)), samples.EXERCISE))
    assert text.count("best known kernel on this GPU 5.00 µs") == 1


def test_the_roofline_says_its_numbers() -> None:
    text = words(report("passed"))
    assert "The memory moves 4.81 TB/s, the FP32 units do 66.9 TFLOPS." in text
    assert "C imbalanced: 25 TFLOPS, 37% of the roof above it" in text


def test_occupancy_says_what_limits_it() -> None:
    text = words(report("passed"))
    assert "imbalanced grouped_gemm_kernel_1 320 0.6 25% registers" in text


def test_a_wrong_result_has_its_picture() -> None:
    source = report("wrong-tile")
    text = words(source)
    assert "C_concat in variable, tile by tile" in text
    assert "off by less than 0.01" in text
    assert "never written" in text
    assert "Right: group 2, group 4, group 5, group 6, group 7." in text
    assert "The first wrong tile: group 0, from row 0, column 496" in text
    assert 'aria-label="group 3: 256 rows; 64 of 512 tiles wrong"' in source
    assert '<td class="wrong">nan</td>' in source
    assert "Picture of imbalanced" in text


def test_a_wrong_byte_is_shown_bit_by_bit() -> None:
    source = report("fp8-byte")
    assert 'aria-label="sign 0, exponent 0111, mantissa 001"' in source
    assert source.count('class="bit mantissa differs">1<') == 1
    text = words(source)
    assert "1.0625 lies between 1 (0x38) and 1.125 (0x39), exactly halfway: a tie goes to the code" in text


def test_a_byte_rounded_by_chance_is_shown_without_the_nearer_code() -> None:
    result = samples.fp8()
    (bad,) = (check for check in result.checks if check.findings)
    drawn = msgspec.structs.replace(bad.findings[0], detail=Detail.STOCHASTIC_CONVERSION)
    by_chance = msgspec.structs.replace(bad, findings=(drawn,))
    text = words(render(msgspec.structs.replace(result, checks=(by_chance,)), samples.EXERCISE, samples.SOURCE))
    assert "The byte, bit by bit" in text
    assert "lies between" not in text


def test_hints_for_speed_lie_one_in_the_other() -> None:
    source = report("too-slow")
    hints = source[source.index('<details class="hint">') : source.index("</article>")]
    assert hints.count("<details") == hints.count("</details>") == 4
    assert hints.index("</details>") > hints.rindex("<details")
    assert "Hint 1: It is correct. Why is it slow on the large cases?" in words(source)
    assert "Where do I start?" not in source


def test_what_changed_since_an_earlier_attempt_is_told() -> None:
    before, now = samples.SITUATIONS["too-slow"], samples.SITUATIONS["passed"]
    text = words(render(now, samples.EXERCISE, since=before))
    for told in (
        "Since the last attempt verdict failed → passed points 72 → 92",
        "fixed speed[imbalanced]: too slow → fast enough",
        "faster uniform: 0.98× → 1.53×",
    ):
        assert told in " ".join(text.replace("verdictfailed", "verdict failed").split()), told
    assert "Since the last attempt" not in words(report("passed"))


def test_further_cases_stand_apart() -> None:
    text = words(report("no-gpu"))
    assert text.index("3 extra cases, drawn from seed 1234567: all correct") < text.index("empty-groups")
    assert text.index("secret cases, shown redacted") < text.index("secret-1")


def test_a_skipped_check_names_its_cause_where_the_row_does_not() -> None:
    assert "memory[uniform] failed" not in words(report("race"))
    assert "memory[uniform] did not finish" in words(report("hang"))


def test_where_no_case_ran_one_sentence_says_so() -> None:
    text = words(report("compile-error"))
    assert "No case was run: uniform, variable, imbalanced, small need a kernel that can be launched." in text
    assert "launch failed" not in text


def test_a_mistake_in_every_case_does_not_list_them_all() -> None:
    checks = [samples.memory(f"case-{n}", samples.RACE) for n in range(13)]
    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(samples.COMPILED, *checks))
    text = words(render(result, samples.EXERCISE, samples.SOURCE))
    assert "seen in case-0, case-1, case-2, case-3 and 9 more cases." in text


def test_a_result_from_before_findings_held_data_is_still_rendered() -> None:
    old = samples.ROOT / "tests" / "model" / "results" / "before_findings_were_data.json"
    text = words(render(codec.decode(old.read_bytes()), samples.EXERCISE, samples.SOURCE))
    assert "race between threads on line 21." in text
    assert "reads B_tile[16]; line 20 writes it too, and no barrier orders the two" in text
    assert "thread (0,1,0) of block (0,0,0) wrote it in line 20" in text
    assert "Put a __syncthreads() between the two accesses" in text
    assert "B is read transposed. First wrong element: group 0" in text


def known(kind: str, *, detail: str = "", cause: str = "") -> Finding:
    """Its sentences say nothing: what is known of it is data."""
    return Finding(kind, "starter.cu", 33, "...", detail=detail, cause=cause)


@pytest.mark.parametrize(
    ("finding", "step"),
    [
        (known("out-of-bounds", detail=Detail.DYNAMIC_SHARED), "The size of an extern __shared__ array"),
        (known("out-of-bounds"), "Find the index that can run past the end"),
        (known("wrong-values", cause="C is transposed"), "That mistake would produce exactly these numbers."),
        (known("wrong-values"), "Take the first wrong element"),
        (known("wrong-values", detail=Detail.CONVERSION), "Convert the first wrong element by hand"),
        (known("wrong-values", detail=Detail.STOCHASTIC_CONVERSION), "Convert the first wrong element by hand"),
    ],
)
def test_the_next_step_is_about_this_finding(finding: Finding, step: str) -> None:
    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(samples.memory("small", finding),))
    assert f"Next step {step}" in words(render(result, samples.EXERCISE, samples.SOURCE))


def test_a_next_step_is_given_once_and_another_one_too() -> None:
    within = [Finding("race", "starter.cu", line, "one") for line in (31, 33)]
    between = Finding("race", "starter.cu", 38, "another", detail=Detail.BETWEEN_BLOCKS)
    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(samples.memory("small", *within, between),))
    text = words(render(result, samples.EXERCISE, samples.SOURCE))
    assert text.count("Put a __syncthreads()") == 1
    assert text.count("There is no barrier between blocks") == 1


def test_a_wrong_value_blames_no_line() -> None:
    finding = Finding("wrong-values", "starter.cu", 6, "group 0, row 0: expected 1, got 0", count=131051)
    result = msgspec.structs.replace(
        samples.SITUATIONS["wrong-tile"],
        checks=(samples.COMPILED, samples.correct("uniform", 1.0, 131051, finding)),
    )
    source = render(result, samples.EXERCISE, samples.SOURCE)
    assert "1 problem to fix: wrong result." in words(source)
    assert "Kernel on line 6; seen in uniform." in words(source)
    assert 'class="code excerpt"' not in source
    assert "(131,051 times)" not in source


def test_the_compiler_and_the_machine_are_named() -> None:
    text = words(report("no-gpu"))
    assert "grouped_gemm_kernel 40 2048 bytes 0 bytes" in text
    command = "grade run 01_simple_grouped_gemm exercises/01_simple_grouped_gemm/solution.cu --seed 1234567"
    assert command in text
    assert "versions nvrtc 13.0.88" in text


def test_what_could_not_be_taken_from_the_child_is_said() -> None:
    confined = samples.SITUATIONS["no-gpu"]
    machine = confined.machine | {"unconfined": ["no Landlock here", "no seccomp here"]}
    loose = msgspec.structs.replace(confined, machine=machine)
    assert "unconfined no Landlock here; no seccomp here" in words(render(loose, samples.EXERCISE))
    empty = msgspec.structs.replace(confined, machine=confined.machine | {"unconfined": []})
    assert "unconfined" not in words(render(empty, samples.EXERCISE))


def test_what_a_kernel_printed_is_shown() -> None:
    assert "done 0 done 1" in words(report("race"))


def test_a_finding_in_a_header_names_the_header() -> None:
    assert "In grader.cuh, line 12." in words(report("compile-error"))


def test_a_warning_costs_nothing_and_is_shown() -> None:
    source = report("wrong-tile")
    assert words(source).count("Suggestions") == 1
    assert words(source).count("was declared but never used") == 2  # in its card and in the margin
    assert "the compiler warns" not in words(source)  # said once
    assert '<div class="line hit mild" id="L14">' in source


def test_without_source_and_exercise_the_report_still_answers() -> None:
    source = render(samples.SITUATIONS["race"])
    assert "Race between threads" in words(source)
    assert "Your code" not in words(source)
    assert "On line 33" not in words(source)  # there is no line to go to
    assert "starter.cu, line 33" in words(source)


def test_a_failed_check_without_findings_shows_its_message() -> None:
    check = samples.speed("small")
    slow = msgspec.structs.replace(check, status=Status.FAILED, message="0.31 of cuBLAS; 0.6 is asked")
    result = msgspec.structs.replace(samples.SITUATIONS["race"], checks=(samples.COMPILED, slow))
    assert "0.31 of cuBLAS; 0.6 is asked" in words(render(result, samples.EXERCISE, samples.SOURCE))


def hostile_picture(text: str) -> dict[str, object]:
    closeup = {"region": text, "row": 0, "column": 0, "marks": ["4"], "values_row": 0, "values_column": 0}
    return {
        "output": text,
        "columns": 1,
        "tile": 16,
        "regions": [{"name": text, "rows": 1, "marks": ["4"]}],
        "first": closeup | {"expected": [text], "got": [text]},
    }


def hostile_everywhere(text: str) -> Result:
    finding = Finding("race" + text, text, 3, text, notes=(text,), hint=text)
    here = msgspec.structs.replace(finding, file="x.cu")
    check = msgspec.structs.replace(
        samples.memory(text, finding, here), message=text, measurements=read({"printed": text, "summary": text})
    )
    kernels = {text: {"registers": 7}}
    compiled = msgspec.structs.replace(
        samples.COMPILED, message=text, findings=(here,), measurements=read({"kernels": kernels})
    )
    wrong = msgspec.structs.replace(
        samples.correct(text, text, 1, Finding("wrong-values", text, 3, text)),
        measurements=read({"picture": hostile_picture(text), "example": {"format": text, "expected": text}}),
    )
    timed = msgspec.structs.replace(
        next(c for c in samples.on_h200("tile16").checks if c.id == "speed[variable]"), case=text
    )
    timed = msgspec.structs.replace(
        timed,
        measurements=read(
            plain(timed.measurements)
            | {"baseline": text, "route": text, "routes_us": {text: 3.0}, "launches": [{"name": text}], "roof": text}
        ),
    )
    unjudged = msgspec.structs.replace(samples.speed(text), reason=text, id=f"speed{text}")
    broken = msgspec.structs.replace(samples.LAUNCH, status=Status.ERROR, message=text)
    result = samples.SITUATIONS["race"]
    return msgspec.structs.replace(
        result,
        exercise=text,
        submission=Submission(text + "/x.cu", text),
        machine={text: {text: [text]}},
        checks=(compiled, broken, check, unjudged, wrong, timed),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text: str) -> None:
    hostile = hostile_everywhere(text)
    before = msgspec.structs.replace(
        hostile, checks=tuple(msgspec.structs.replace(c, status=Status.PASSED) for c in hostile.checks)
    )
    source = render(hostile, None, f"// {text}\nint x;\n#include <{text}>\n", since=before)
    page = Page(source)
    assert not ACTIVE & {tag for tag, _ in page.elements}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert "1337" not in source
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\u2028\ufeff]", source)
    source.encode()  # no lone surrogates


def test_a_large_source_is_shown_plain_and_quickly() -> None:
    lines = "int x = 1;\n" * 50_000
    source = render(samples.SITUATIONS["compile-error"], samples.EXERCISE, lines)
    assert "46,000 more lines not shown." in words(source)
    assert len(source) < 1_000_000


def test_a_usual_report_is_small() -> None:
    assert all(len(report(name).encode()) < 100_000 for name in samples.SITUATIONS)
