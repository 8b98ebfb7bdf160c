#!/usr/bin/env python3
"""Builds reports: a kind that the suite knows by ../kinds/report.build.toml alone."""

import logging

from vmctl_worker import Cancelled, Context, Continue, Done, Fail, Policy, Retry, Worker

PAGES_IN_A_SLICE = 10
"""More than that goes on in the next slice: a rolling update waits for one slice at most."""


def build(ctx: Context):
    job = ctx.job["input"]
    pages = job.get("pages", 3)
    if job.get("unreadable"):
        return Fail("unreadable", "nobody can read the sources")
    if ctx.attempt <= job.get("jams", 0):
        return Retry("paper-jam", "the printer is jammed")
    page = (ctx.checkpoint or {}).get("page", 0)
    for number in range(page, min(pages, page + PAGES_IN_A_SLICE)):
        ctx.progress(number * 100 // pages, f"page {number + 1} of {pages}")
        if ctx.wait(job.get("page_ms", 100) / 1000):
            if ctx.cancelled:
                return Cancelled()
            return Continue({"page": number})
    done = min(pages, page + PAGES_IN_A_SLICE)
    if done < pages:
        return Continue({"page": done})
    return Done({"title": job["title"], "pages": pages})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("pika").setLevel(logging.WARNING)
    Worker("report.build", build, Policy(backoff=[1.0])).run()
