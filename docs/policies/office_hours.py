"""The hotline rings in the office by day and at the answering service at night and on holidays.

Whether today is a holiday is asked over HTTP. The handler waits for the answer without holding up
anybody else, and a calendar that is slow or gone counts as "no holiday": no call may depend on it.
Hours are those of the machine's time zone.
"""

import asyncio
from datetime import date, datetime

from sipshard import Decision, Forward, Reject, Request, Router

OPEN_HOURS = range(8, 18)
OFFICE = "sip:hotline@office.example.com"
ANSWERING_SERVICE = "sip:hotline@service.example.com"
CALENDAR = ("127.0.0.1", 8080)
CALENDAR_TIMEOUT_S = 0.5

router = Router()


@router.request("INVITE")
async def hotline(request: Request) -> Decision:
    if request.uri.user != "hotline":
        return Reject(404)
    now = datetime.now()
    is_open = now.weekday() < 5 and now.hour in OPEN_HOURS and not await is_holiday(now.date())
    return Forward(OFFICE if is_open else ANSWERING_SERVICE, record_route=True)


async def is_holiday(day: date) -> bool:
    try:
        async with asyncio.timeout(CALENDAR_TIMEOUT_S):
            return await ask_calendar(day)
    except (OSError, TimeoutError):
        return False


async def ask_calendar(day: date) -> bool:
    reader, writer = await asyncio.open_connection(*CALENDAR)
    try:
        writer.write(f"GET /holidays/{day.isoformat()} HTTP/1.0\r\n\r\n".encode())
        status_line = await reader.readline()
    finally:
        writer.close()
    return b" 200 " in status_line
