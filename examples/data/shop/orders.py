"""Orders of the example shop; examples/data/shop.log shows what happens to some of them."""

import logging

from shop.prices import price

log = logging.getLogger(__name__)


class OrderFailed(Exception):
    """An order could not be placed; the argument is its number."""


def wanted(basket):
    """The items of a basket that are in stock, as far as they are known."""
    return [item for item in basket if item.get("stock", 0) > 0]


def place(user, number, basket):
    """Place an order and return what it costs on average per item.

    Raises:
        OrderFailed: no price could be found.
    """
    items = wanted(basket)
    try:
        # A basket whose items have all been sold out meanwhile arrives here empty,
        # and what is written to the log is what support reads first.
        log.debug("order %s of %r: %d items", number, user, len(items))

        total = price(items)
    except ArithmeticError as error:
        log.exception("order %s of %r failed", number, user)
        raise OrderFailed(number) from error
    return total
