"""What a draft costs: tokens times this server's stated price. Pure."""

USD_PER_1000_INPUT_TOKENS = 0.0002
USD_PER_1000_OUTPUT_TOKENS = 0.0008


def cost_usd(input_tokens: int, output_tokens: int) -> float:
    """Tokens times the stated price of this server."""
    dollars = input_tokens * USD_PER_1000_INPUT_TOKENS + output_tokens * USD_PER_1000_OUTPUT_TOKENS
    return round(dollars / 1000, 8)
